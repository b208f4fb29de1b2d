/** Memory for what is being handled: a large record that finds too little left waits for it, in the order of asking. */

export class Room {
  readonly #limit: number
  #used = 0
  #waiting: { readonly bytes: number; readonly resolve: () => void }[] = []

  constructor(limit: number) {
    this.#limit = limit
  }

  /** False: there is none, and nothing was taken. Small ones wait for nobody. */
  take(bytes: number): boolean {
    if (this.#isSmall(bytes)) return true
    if (this.#waiting.length > 0 || !this.#fits(bytes)) return false
    this.#used += bytes
    return true
  }

  /** Takes it when it is there; more than the whole of it when nobody else has any. */
  async wait(bytes: number): Promise<void> {
    if (this.take(bytes)) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push({ bytes, resolve })
    await promise
  }

  give(bytes: number): void {
    if (this.#isSmall(bytes)) return
    this.#used -= bytes
    for (let [next] = this.#waiting; next && this.#fits(next.bytes); [next] = this.#waiting) {
      this.#waiting.shift()
      this.#used += next.bytes
      next.resolve()
    }
  }

  /** So many at once are handled of a rule that these come to no more than the large ones may have. */
  #isSmall(bytes: number): boolean {
    return bytes <= this.#limit / 1000
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.#limit
  }
}
