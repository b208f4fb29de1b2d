/** Lets the answers of one turn of the event loop leave together, when the turn is over. */
import type { ServerResponse } from 'node:http'
import { Corker, type Corked } from './corker.ts'

class Ending implements Corked {
  readonly #response: ServerResponse
  readonly #body: string
  readonly #encoding: BufferEncoding

  constructor(response: ServerResponse, body: string, encoding: BufferEncoding) {
    this.#response = response
    this.#body = body
    this.#encoding = encoding
  }

  flush(): void {
    // The peer may have left meanwhile.
    if (this.#response.destroyed) return
    if (this.#body === '') this.#response.end()
    else this.#response.end(this.#body, this.#encoding)
  }
}

/** A lot of so many: measured with 64 connections, 4 % more requests than when all of a turn leave together, or 16 by 16. */
const corker = new Corker(24)

/**
 * Ends a response whose head was given to `writeHead`, with the last of its body: for answers that are there as a whole, and small.
 * One that leaves while others are still worked on wakes its reader for itself, and that takes longer than the whole answer. Until
 * the turn is over `headersSent` is true and `writableEnded` is not; nothing more may be written, and a peer that leaves is told
 * nothing. Head and body leave in one piece, in `encoding`: `utf8` only where the head is ASCII.
 */
export function endTogether(response: ServerResponse, body = '', encoding: BufferEncoding = 'latin1'): void {
  corker.add(new Ending(response, body, encoding))
}

/** Does so now: before something that would leave an answer behind. */
export function endNow(): void {
  corker.flush()
}
