/** Stands where questions come in, and fetches who answers them when the first one comes: a start needs none of it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { reason } from '../runtime/errors.ts'
import { Late } from '../runtime/late.ts'
import type { AdminDesk, AdminDeskParts } from './admin-desk.ts'
import type { Place } from './admin-places.ts'

export interface LateDeskParts extends Omit<AdminDeskParts, 'places'> {
  /** What it can be asked, beside each other. */
  readonly places: () => Promise<readonly Place[]> | readonly Place[]
}

export class LateDesk {
  readonly #parts: LateDeskParts
  readonly #desk: Late<AdminDesk>

  constructor(parts: LateDeskParts) {
    this.#parts = parts
    this.#desk = new Late(() => this.#fetch())
  }

  /** Answers whatever comes. Never rejects. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const desk = await this.#desk.get()
      await desk.serve(request, response)
    } catch (error) {
      // Something of the package cannot be loaded, now: there may be too many open files.
      this.#parts.log.error({ err: error }, `questions cannot be answered: ${reason(error)}`)
      response.destroy()
    }
  }

  async #fetch(): Promise<AdminDesk> {
    const [{ AdminDesk }, places] = await Promise.all([import('./admin-desk.ts'), this.#parts.places()])
    return new AdminDesk({ ...this.#parts, places })
  }
}
