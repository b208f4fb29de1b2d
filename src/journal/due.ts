/** Records that wait for a time, by their ids alone: two numbers each, and one timer for all of them. */

/** What a timer can wait. */
const longestWait = 2 ** 31 - 1

export class Due {
  readonly #onDue: (ids: readonly number[]) => void
  /** A heap: none is due before the one at half of its place. */
  readonly #ids: number[] = []
  readonly #times: number[] = []
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  /** `onDue` is given those whose time has come. */
  constructor(onDue: (ids: readonly number[]) => void) {
    this.#onDue = onDue
  }

  /** `time`: in milliseconds since 1970. */
  add(id: number, time: number): void {
    let place = this.#ids.length
    while (place > 0) {
      const above = (place - 1) >> 1
      if (this.#time(above) <= time) break
      this.#move(above, place)
      place = above
    }
    this.#put(place, id, time)
    if (place === 0) this.#watch()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #watch(): void {
    clearTimeout(this.#timer)
    if (this.#ids.length === 0 || this.#stopped) return
    const wait = Math.min(Math.max(this.#time(0) - Date.now(), 0), longestWait)
    this.#timer = setTimeout(() => this.#look(), wait)
  }

  #look(): void {
    const now = Date.now()
    const due: number[] = []
    while (this.#ids.length > 0 && this.#time(0) <= now) due.push(this.#take())
    this.#watch()
    if (due.length > 0) this.#onDue(due)
  }

  /** The first, whose place the last one seeks from the top. */
  #take(): number {
    const [first] = this.#ids as [number] // there is one
    const id = this.#ids.pop() as number
    const time = this.#times.pop() as number
    const { length } = this.#ids
    if (length === 0) return first
    let place = 0
    for (;;) {
      let below = 2 * place + 1
      if (below + 1 < length && this.#time(below + 1) < this.#time(below)) below++
      if (below >= length || this.#time(below) >= time) break
      this.#move(below, place)
      place = below
    }
    this.#put(place, id, time)
    return first
  }

  #time(place: number): number {
    return this.#times[place] as number // asked for places that there are
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#ids[from] as number, this.#time(from)) // as above
  }

  #put(place: number, id: number, time: number): void {
    this.#ids[place] = id
    this.#times[place] = time
  }
}
