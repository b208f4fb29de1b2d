/** What the sample remembers: one SQLite database in the data folder, open from the gateway's start to its end, in each thread that asks. */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Application, LifespanProtocol, State } from 'signalbox'
import { Counters } from './store/counters.ts'
import { Readings } from './store/readings.ts'
import { Texts } from './store/texts.ts'
import { Tickets } from './store/tickets.ts'
import { signerOf, type TicketSigner } from './ticket-thread.ts'

/** Raise it together with a change of any table, and say here what an older file needs. */
const version = 1

/** One class a topic: its tables and its statements side by side. */
export class Store {
  readonly counters: Counters
  readonly readings: Readings
  readonly texts: Texts
  readonly tickets: Tickets
  /** Signs the Message-IDs of our mails. */
  readonly signer: TicketSigner
  readonly #database: DatabaseSync

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true })
    const file = path.join(folder, 'sample.sqlite')
    // Mails and telephone numbers are for the gateway's own user; SQLite gives its other files the same mode.
    closeSync(openSync(file, 'a', 0o600))
    this.#database = new DatabaseSync(file, { timeout: 1000 })
    // A handler that returned has given the sender its positive answer, so what it wrote must survive a power cut: FULL.
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
    try {
      // All tables or none, and one wait for the disk.
      this.#database.exec('BEGIN IMMEDIATE')
      checkVersion(this.#database)
      this.counters = new Counters(this.#database)
      this.readings = new Readings(this.#database)
      this.texts = new Texts(this.#database)
      this.tickets = new Tickets(this.#database)
      this.#database.exec('COMMIT')
    } catch (error) {
      this.#database.close()
      throw error
    }
    this.signer = signerOf(folder)
  }

  close(): void {
    this.counters.save()
    this.#database.close()
  }
}

const stores = new Map<string, Store>()

/** The store of the gateway that a scope belongs to; whoever asks first opens it. */
export function storeOf(scope: { readonly state: State }): Store {
  const folder = folderOf(scope.state)
  const store = stores.get(folder) ?? new Store(folder)
  stores.set(folder, store)
  return store
}

/** Closes the store of a data folder, if it is open. */
export function closeStore(folder: string): void {
  stores.get(folder)?.close()
  stores.delete(folder)
}

/** Opens the store before any port opens, so that a broken disk shows at the start, and closes it after the last scope. */
export const lifespan: Application<LifespanProtocol> = async (scope, receive, send) => {
  await receive()
  try {
    storeOf(scope)
  } catch (error) {
    const message = `the database in ${folderOf(scope.state)} cannot be opened: ${Error.isError(error) ? error.message : String(error)}`
    return send({ type: 'lifespan.startup.failed', message })
  }
  await send({ type: 'lifespan.startup.complete' })
  await receive()
  closeStore(folderOf(scope.state))
  await send({ type: 'lifespan.shutdown.complete' })
}

function folderOf(state: State): string {
  const { data } = state
  if (typeof data === 'string') return data
  throw new Error(`expected the data folder in scope.state.data, found ${JSON.stringify(data)}`)
}

function checkVersion(database: DatabaseSync): void {
  const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
  if (found > version) throw new Error(`it has version ${found}, and this gateway knows version ${version} at most`)
  if (found < version) database.exec(`PRAGMA user_version = ${version}`)
}
