/** What is made when the first one asks for it. */

export class Late<T> {
  readonly #make: () => Promise<T>
  #made: Promise<T> | undefined

  constructor(make: () => Promise<T>) {
    this.#make = make
  }

  /** Undefined: nobody has asked, or it could not be made. */
  get made(): Promise<T> | undefined {
    return this.#made
  }

  /** When it cannot be made, whoever asked is told why, and for the next one it is tried again. */
  get(): Promise<T> {
    return (this.#made ??= this.#make().catch((error: unknown) => {
      this.#made = undefined
      throw error
    }))
  }
}
