/**
 * Whatever was being tried when the process ended may be what ended it. Each of those is tried without the others beside it, so that
 * the next end is not counted against all of them until they are dead letters with the one that is to blame.
 */
import type { Entry } from './entry.ts'
import { Line } from './line.ts'

export interface SuspectsParts {
  /** How long one keeps the others waiting, in milliseconds: one that hangs ends nothing. */
  readonly alone: number
  /** It is this one's turn. */
  admit(entry: Entry): void
}

export class Suspects {
  readonly #parts: SuspectsParts
  readonly #line = new Line<Entry>()
  #current: Entry | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(parts: SuspectsParts) {
    this.#parts = parts
  }

  /** Whether it may be tried now; if not, `admit` says when. */
  admits(entry: Entry): boolean {
    if (!entry.isSuspect || entry === this.#current) return true
    if (this.#current || this.#stopped) {
      this.#line.push(entry)
      return false
    }
    this.#seat(entry)
    return true
  }

  over(entry: Entry): void {
    if (entry === this.#current) this.#goOn()
  }

  /** Begins nothing more. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #seat(entry: Entry): void {
    this.#current = entry
    this.#timer = setTimeout(() => this.#goOn(), this.#parts.alone)
  }

  #goOn(): void {
    if (this.#stopped) return
    clearTimeout(this.#timer)
    const next = this.#line.shift()
    this.#current = undefined
    if (!next) return
    this.#seat(next)
    this.#parts.admit(next)
  }
}
