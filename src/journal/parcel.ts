/** Records on their way to the worker: what many of them say alike is said once, and the rest is numbers and one piece of memory. */
import type { EncodedRecord, Head, Parcel } from './messages.ts'

/** The numbers of a record: its head, its key or -1, whether that may repeat, its event's size, where its body is or -1, its body's size. */
const width = 6

/** Gathers the calls of a turn. */
export class Packer {
  #calls: number[] = []
  #heads: Head[] = []
  /** By the scope's bytes, which records of one connection share. */
  #byScope = new Map<Uint8Array, number>()
  #keys: string[] = []
  #rows: number[] = []
  #parts: Uint8Array[] = []
  #length = 0

  get isEmpty(): boolean {
    return this.#calls.length === 0
  }

  add(records: readonly EncodedRecord[]): void {
    const bodies = records.length > 1 ? new Map<Uint8Array, number>() : undefined
    this.#calls.push(records.length)
    for (const record of records) this.#addRecord(record, bodies)
  }

  /** The parcel of what was added since the last one; its memory can be transferred. */
  take(): Parcel {
    // Not from Node's pool: the memory changes hands.
    const bytes = Buffer.allocUnsafeSlow(this.#length)
    let offset = 0
    for (const part of this.#parts) {
      bytes.set(part, offset)
      offset += part.byteLength
    }
    const parcel: Parcel = {
      calls: Int32Array.from(this.#calls),
      heads: this.#heads,
      keys: this.#keys,
      rows: Float64Array.from(this.#rows),
      bytes,
    }
    this.#calls = []
    this.#heads = []
    this.#byScope = new Map()
    this.#keys = []
    this.#rows = []
    this.#parts = []
    this.#length = 0
    return parcel
  }

  #addRecord(record: EncodedRecord, bodies: Map<Uint8Array, number> | undefined): void {
    const { key, mayRepeat, event, body } = record
    const head = this.#head(record)
    this.#put(event)
    let at = -1
    if (body) {
      at = bodies?.get(body) ?? this.#put(body)
      bodies?.set(body, at)
    }
    const keyed = key === undefined ? -1 : this.#keys.push(key) - 1
    this.#rows.push(head, keyed, mayRepeat ? 1 : 0, event.byteLength, at, body ? body.byteLength : 0)
  }

  #head({ direction, protocol, route, lane, peer, scope }: EncodedRecord): number {
    const known = this.#byScope.get(scope)
    const head = known === undefined ? undefined : this.#heads[known]
    const same =
      head?.route === route && head.lane === lane && head.direction === direction && head.protocol === protocol
    if (known !== undefined && same && head.peer === peer) return known
    const number = this.#heads.push({ direction, protocol, route, lane, peer, size: scope.byteLength }) - 1
    this.#byScope.set(scope, number)
    this.#put(scope)
    return number
  }

  #put(part: Uint8Array): number {
    const at = this.#length
    this.#parts.push(part)
    this.#length += part.byteLength
    return at
  }
}

/** The calls of a parcel. Records of one call that share a body have the same object. */
export function unpack({ calls, heads, keys, rows, bytes }: Parcel): EncodedRecord[][] {
  let row = 0
  let offset = 0
  const scopes: Uint8Array[] = []
  const next = (size: number): Uint8Array => bytes.subarray(offset, (offset += size))
  return Array.from(calls, (count) => {
    const bodies = new Map<number, Uint8Array>()
    const records: EncodedRecord[] = []
    for (const end = row + count * width; row < end; row += width) {
      const number = rows[row] ?? 0
      const keyed = rows[row + 1] ?? -1
      const at = rows[row + 4] ?? -1
      const size = rows[row + 5] ?? 0
      const { size: scopeSize, ...head } = heads[number] as Head // as the packer laid them
      const scope = (scopes[number] ??= next(scopeSize))
      const event = next(rows[row + 3] ?? 0)
      let body: Uint8Array | undefined
      // An empty one has no place of its own.
      if (at >= 0) body = (size > 0 && bodies.get(at)) || bytes.subarray(at, at + size)
      if (body && size > 0 && !bodies.has(at)) {
        bodies.set(at, body)
        offset += size
      }
      const mayRepeat = rows[row + 2] === 1
      records.push({ ...head, key: keyed < 0 ? undefined : keys[keyed], mayRepeat, scope, event, body })
    }
    return records
  })
}
