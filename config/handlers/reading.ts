/** What a sensor may say, and why anything else is refused: each rule is one line that a person can read. */

export interface SensorReading {
  readonly celsius: number
  /** When it was measured, by the sensor's own clock, in epoch milliseconds; undefined when it did not say. */
  readonly at: number | undefined
}

const longestPayload = 1024
const lowest = -100
const highest = 200
/** A DS18B20 that lost its wire reports this. (85, its value after power-on, may be a temperature too.) */
const disconnected = -127
/** No sensor of ours is older: an earlier time is a clock that was never set, such as 1970 or 2000. */
const earliest = Date.UTC(2020)
/** How far a sensor's clock may be ahead of ours, in milliseconds. */
const clockAhead = 5 * 60_000
/** Date and time with a zone (RFC 3339): without one, the same text means another time elsewhere. */
const timestamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/

/**
 * Reads the payload of `sensors/<room>/temperature`: `21.5`, or `{"celsius":21.5,"at":"2026-01-01T12:00:00Z"}`.
 * @throws Error in words when it is nonsense.
 */
export function parseReading(payload: Uint8Array, now: number): SensorReading {
  const value = parseJson(payload)
  if (typeof value === 'number') return { celsius: checkedCelsius(value), at: undefined }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unreadable(JSON.stringify(value))
  const { celsius, at }: { celsius?: unknown; at?: unknown } = value
  return { celsius: checkedCelsius(celsius), at: at === undefined ? undefined : checkedTime(at, now) }
}

/** @throws Error in words. */
export function checkedRoom(room: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(room)) return room
  throw new Error(`the room ${quoted(room)}: expected 1 to 64 letters, digits, "_" or "-"`)
}

function parseJson(payload: Uint8Array): unknown {
  if (payload.length > longestPayload)
    throw new Error(`a payload of ${payload.length} bytes: expected ${longestPayload} at most`)
  if (payload.length === 0) throw new Error('an empty payload: expected a number such as 21.5')
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(payload)
  } catch {
    throw new Error('a payload that is not UTF-8: expected a number such as 21.5')
  }
  try {
    return JSON.parse(text)
  } catch {
    throw unreadable(text)
  }
}

function checkedCelsius(celsius: unknown): number {
  if (typeof celsius !== 'number')
    throw new Error(`celsius ${quoted(JSON.stringify(celsius))}: expected a number such as 21.5`)
  if (celsius === disconnected) throw new Error(`${celsius} °C is what a sensor reports that lost its wire`)
  if (celsius >= lowest && celsius <= highest) return celsius
  throw new Error(`${celsius} °C: expected ${lowest} to ${highest}`)
}

function checkedTime(at: unknown, now: number): number {
  // A number could be seconds or milliseconds: no guessing.
  if (typeof at !== 'string' || !timestamp.test(at)) {
    throw new Error(`at ${quoted(JSON.stringify(at))}: expected a time with its zone, such as "2026-01-01T12:00:00Z"`)
  }
  const time = Date.parse(at)
  if (Number.isNaN(time)) throw new Error(`at ${quoted(at)}: no such time`)
  if (time < earliest) throw new Error(`at ${at}: the sensor's clock was never set`)
  if (time > now + clockAhead)
    throw new Error(`at ${at}: the sensor's clock is ahead, here it is ${new Date(now).toISOString()}`)
  return time
}

function unreadable(text: string): Error {
  return new Error(`${quoted(text)}: expected a number such as 21.5, or {"celsius":21.5,"at":"2026-01-01T12:00:00Z"}`)
}

function quoted(text = 'nothing'): string {
  return text.length > 60 ? `${JSON.stringify(text.slice(0, 60))}…` : JSON.stringify(text)
}
