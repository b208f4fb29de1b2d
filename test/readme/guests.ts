/** A guest book in a database that blocks until it is on the disk. */
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { SyncHttpConsumer, type SyncHttpRequest } from 'signalbox'

export class GuestBook extends SyncHttpConsumer {
  override handle(request: SyncHttpRequest) {
    using database = new DatabaseSync(path.join(String(this.scope.state['data']), 'guests.sqlite'))
    database.exec('CREATE TABLE IF NOT EXISTS guests (name TEXT)')
    if (request.method === 'POST') database.prepare('INSERT INTO guests VALUES (?)').run(request.text())
    return { json: database.prepare('SELECT name FROM guests').all() }
  }
}
