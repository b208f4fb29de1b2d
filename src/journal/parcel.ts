/** Records on their way to the worker: what many of them say alike is said once, and the rest is numbers and one piece of memory. */
import { SignalboxError } from '../runtime/errors.ts'
import type { EncodedRecord, Parcel } from './messages.ts'

/** Numbers a record. */
export const rowWidth = 2
const headTexts = 5
const headSizes = 2
/** Records that there is room for at first. */
const firstRows = 2 ** 10
/** Records that there is room for afterwards. */
const mostRows = 2 ** 16
/** What the numbers of a parcel can say, in bytes. */
const mostBytes = 2 ** 32 - 1

/** Gathers the calls of a turn. */
export class Packer {
  #calls: number[] = []
  #texts: string[] = []
  #sizes: number[] = []
  /** By what records of one connection share: the start of their events, or their scope. */
  #heads = new Map<Uint8Array, { readonly number: number; readonly scope: Uint8Array }>()
  #keys: string[] = []
  #keyed: number[] = []
  #bodies: number[] = []
  #rows = new Uint32Array(firstRows * rowWidth)
  #count = 0
  #parts: Uint8Array[] = []
  #length = 0

  get isEmpty(): boolean {
    return this.#calls.length === 0
  }

  /** @throws SignalboxError `journal_full` when so much has come in this turn that it cannot be counted; nothing is added then. */
  add(records: readonly EncodedRecord[]): void {
    this.#demand(records)
    const bodies = records.length > 1 ? new Map<Uint8Array, number>() : undefined
    this.#calls.push(records.length)
    for (const record of records) this.#addRecord(record, bodies)
  }

  /** The parcel of what was added since the last one; its memory can be transferred. */
  take(): Parcel {
    const parcel: Parcel = {
      calls: this.#calls,
      texts: this.#texts,
      sizes: this.#sizes,
      // No larger than it must be: the worker keeps it until all of them are gone.
      rows: this.#rows.slice(0, this.#count * rowWidth),
      keys: this.#keys,
      keyed: this.#keyed,
      bodies: this.#bodies,
      bytes: joined(this.#parts, this.#length),
    }
    this.#calls = []
    this.#texts = []
    this.#sizes = []
    this.#heads = new Map()
    this.#keys = []
    this.#keyed = []
    this.#bodies = []
    // A turn in which very many came is not to be paid for for ever.
    if (this.#count > mostRows) this.#rows = new Uint32Array(firstRows * rowWidth)
    this.#count = 0
    this.#parts = []
    this.#length = 0
    return parcel
  }

  #addRecord(record: EncodedRecord, bodies: Map<Uint8Array, number> | undefined): void {
    const { key, mayRepeat, event, body } = record
    const number = this.#count
    const head = this.#head(record)
    this.#put(event)
    if (body) {
      const at = bodies?.get(body) ?? this.#put(body)
      bodies?.set(body, at)
      this.#bodies.push(number, at, at + body.byteLength)
    }
    if (key !== undefined) {
      this.#keys.push(key)
      this.#keyed.push(number, mayRepeat ? 1 : 0)
    }
    if (this.#rows.length === number * rowWidth) this.#rows = grown(this.#rows)
    this.#rows[number * rowWidth] = head
    this.#rows[number * rowWidth + 1] = event.byteLength
    this.#count++
  }

  #head({ direction, protocol, route, lane, peer, scope, start }: EncodedRecord): number {
    const known = this.#heads.get(start ?? scope)
    if (known?.scope === scope) {
      const at = known.number * headTexts
      const texts = this.#texts
      const same = texts[at + 2] === route && texts[at + 3] === lane && texts[at + 4] === peer
      if (same && texts[at] === direction && texts[at + 1] === protocol) return known.number
    }
    const number = this.#texts.push(direction, protocol, route, lane, peer) / headTexts - 1
    this.#sizes.push(scope.byteLength, start ? start.byteLength : 0)
    this.#heads.set(start ?? scope, { number, scope })
    this.#put(scope)
    if (start) this.#put(start)
    return number
  }

  #put(part: Uint8Array): number {
    const at = this.#length
    this.#parts.push(part)
    this.#length += part.byteLength
    return at
  }

  #demand(records: readonly EncodedRecord[]): void {
    let need = this.#length
    for (const { scope, start, event, body } of records) {
      need += scope.byteLength + (start?.byteLength ?? 0) + event.byteLength + (body?.byteLength ?? 0)
    }
    if (need <= mostBytes) return
    throw new SignalboxError('journal_full', `${need} bytes came at once, expected at most ${mostBytes}`)
  }
}

/** Not from Node's pool: the memory changes hands. */
function joined(parts: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const bytes = Buffer.allocUnsafeSlow(length)
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.byteLength
  }
  return bytes
}

function grown(rows: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(2 * rows.length)
  larger.set(rows)
  return larger
}

/** What the records of a connection share, as the worker has it. */
export interface Head extends Pick<EncodedRecord, 'direction' | 'protocol' | 'route' | 'lane' | 'peer'> {
  /** Bytes. */
  readonly scope: number
  /** Bytes. */
  readonly start: number
}

export function headsOf({ texts, sizes }: Parcel): Head[] {
  return Array.from({ length: sizes.length / headSizes }, (_, number) => {
    const at = number * headTexts
    const [direction, protocol = '', route = '', lane = '', peer = ''] = texts.slice(at, at + headTexts)
    const [scope = 0, start = 0] = sizes.slice(number * headSizes, (number + 1) * headSizes)
    return { direction: direction === 'out' ? 'out' : 'in', protocol, route, lane, peer, scope, start }
  })
}

/** The calls of a parcel. Records of one call that share a body have the same object. */
export function unpack(parcel: Parcel): EncodedRecord[][] {
  const { calls, rows, bytes } = parcel
  const heads = headsOf(parcel)
  const shared: { readonly scope: Uint8Array; readonly start: Uint8Array | undefined }[] = []
  const extras = new Extras(parcel)
  let offset = 0
  const next = (size: number): Uint8Array => bytes.subarray(offset, (offset += size))
  let number = 0
  return calls.map((count) => {
    const bodies = new Map<number, Uint8Array>()
    const records: EncodedRecord[] = []
    for (const end = number + count; number < end; number++) {
      const at = rows[number * rowWidth] ?? 0
      const { scope, start, ...head } = heads[at] as Head // as the packer laid them
      const both = (shared[at] ??= { scope: next(scope), start: start > 0 ? next(start) : undefined })
      const event = next(rows[number * rowWidth + 1] ?? 0)
      const { key, mayRepeat, from, to } = extras.of(number)
      let body: Uint8Array | undefined
      if (from >= 0) {
        // An empty one has no place of its own.
        body = (to > from ? bodies.get(from) : undefined) ?? bytes.subarray(from, to)
        if (to > from) bodies.set(from, body)
        offset = Math.max(offset, to)
      }
      records.push({ ...head, key, mayRepeat, ...both, event, body })
    }
    return records
  })
}

/** The keys and bodies of the records that have one. */
class Extras {
  readonly #parcel: Parcel
  #key = 0
  #body = 0

  constructor(parcel: Parcel) {
    this.#parcel = parcel
  }

  /** To be asked in order. */
  of(number: number) {
    const { keys, keyed, bodies } = this.#parcel
    const hasKey = keyed[this.#key * 2] === number
    const key = hasKey ? keys[this.#key] : undefined
    const mayRepeat = !hasKey || keyed[this.#key * 2 + 1] === 1
    if (hasKey) this.#key++
    const hasBody = bodies[this.#body * 3] === number
    const from = hasBody ? (bodies[this.#body * 3 + 1] ?? -1) : -1
    const to = hasBody ? (bodies[this.#body * 3 + 2] ?? -1) : -1
    if (hasBody) this.#body++
    return { key, mayRepeat, from, to }
  }
}
