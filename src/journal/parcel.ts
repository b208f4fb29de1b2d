/** Records on their way to the worker: what many of them say alike is said once, and the rest is numbers and one piece of memory. */
import { SignalboxError } from '../runtime/errors.ts'
import { Kept, type KeptHead, type Span } from './kept.ts'
import type { EncodedRecord, Parcel } from './messages.ts'

/** Numbers a record. */
export const rowWidth = 2
const placeTexts = 3
const headTexts = 2
const headNumbers = 5
/** Records that there is room for at first. */
const firstRows = 2 ** 10
/** Records that there is room for afterwards. */
const mostRows = 2 ** 16
/** What the numbers of a parcel can say, in bytes. */
const mostBytes = 2 ** 32 - 1

const filler = new Uint8Array(1)

interface KnownHead {
  readonly number: number
  readonly place: number
  readonly scope: Uint8Array
}

/** Gathers the calls of a turn. */
export class Packer {
  #calls: number[] = []
  #places: string[] = []
  #texts: string[] = []
  #heads: number[] = []
  /** By what records of one connection share: the start of their events, or their scope. */
  #known = new Map<Uint8Array, KnownHead>()
  #keys: string[] = []
  #keyed: number[] = []
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
      places: this.#places,
      texts: this.#texts,
      heads: this.#heads,
      // No larger than it must be: the worker keeps it until all of them are gone.
      rows: this.#rows.slice(0, this.#count * rowWidth),
      keys: this.#keys,
      keyed: this.#keyed,
      bytes: joined(this.#parts, this.#length),
    }
    this.#calls = []
    this.#places = []
    this.#texts = []
    this.#heads = []
    this.#known = new Map()
    this.#keys = []
    this.#keyed = []
    // A turn in which very many came is not to be paid for for ever.
    if (this.#count > mostRows) this.#rows = new Uint32Array(firstRows * rowWidth)
    this.#count = 0
    this.#parts = []
    this.#length = 0
    return parcel
  }

  #addRecord(record: EncodedRecord, bodies: Map<Uint8Array, number> | undefined): void {
    const { key, mayRepeat, event } = record
    const number = this.#count
    const head = this.#head(record, bodies)
    this.#put(event)
    if (key !== undefined) {
      this.#keys.push(key)
      this.#keyed.push(number, mayRepeat ? 1 : 0)
    }
    if (this.#rows.length === number * rowWidth) this.#rows = grown(this.#rows)
    this.#rows[number * rowWidth] = head
    this.#rows[number * rowWidth + 1] = event.byteLength
    this.#count++
  }

  #head(record: EncodedRecord, bodies: Map<Uint8Array, number> | undefined): number {
    const { scope, start, body, lane, peer } = record
    const place = this.#place(record)
    // A body of its own makes a head of its own: two recipients of one mail have two scopes.
    const known = body ? undefined : this.#known.get(start ?? scope)
    if (known?.scope === scope && known.place === place) {
      const at = known.number * headTexts
      if (this.#texts[at] === lane && this.#texts[at + 1] === peer) return known.number
    }
    const number = this.#texts.push(lane, peer) / headTexts - 1
    if (!body) this.#known.set(start ?? scope, { number, place, scope })
    this.#put(scope)
    if (start) this.#put(start)
    let from = -1
    if (body) {
      // An empty one takes a byte, so that each has a place of its own.
      from = bodies?.get(body) ?? this.#put(body.byteLength > 0 ? body : filler)
      bodies?.set(body, from)
    }
    this.#heads.push(place, scope.byteLength, start?.byteLength ?? 0, from, body?.byteLength ?? 0)
    return number
  }

  /** There are few in one turn, and mostly the one that was last is meant again. */
  #place({ direction, protocol, route }: EncodedRecord): number {
    const places = this.#places
    for (let at = places.length - placeTexts; at >= 0; at -= placeTexts) {
      if (places[at + 2] === route && places[at + 1] === protocol && places[at] === direction) return at / placeTexts
    }
    return places.push(direction, protocol, route) / placeTexts - 1
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
      need += scope.byteLength + (start?.byteLength ?? 0) + event.byteLength + (body ? body.byteLength + 1 : 0)
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

/** Whose records they are, as the worker has it. */
export type ParcelPlace = Pick<EncodedRecord, 'direction' | 'protocol' | 'route'>

export function placesOf({ places }: Parcel): ParcelPlace[] {
  return Array.from({ length: places.length / placeTexts }, (_, number) => {
    const [direction, protocol = '', route = ''] = places.slice(number * placeTexts, (number + 1) * placeTexts)
    return { direction: direction === 'out' ? 'out' : 'in', protocol, route }
  })
}

/** The heads of a parcel, with the numbers of its places. */
export function headsOf({ texts, heads }: Parcel): KeptHead[] {
  return Array.from({ length: heads.length / headNumbers }, (_, number) => {
    const at = number * headNumbers
    const from = heads[at + 3] ?? -1
    return {
      place: heads[at] ?? 0,
      // As the packer laid them; what is no text, whatever the types say, is refused where it is used.
      lane: texts[number * headTexts] as string,
      peer: texts[number * headTexts + 1] as string,
      scope: heads[at + 1] ?? 0,
      start: heads[at + 2] ?? 0,
      body: from < 0 ? undefined : { from, size: heads[at + 4] ?? 0 },
    }
  })
}

/** The calls of a parcel. Records that share a body have the same object. */
export function unpack(parcel: Parcel): EncodedRecord[][] {
  const { calls, rows, keys, keyed, bytes } = parcel
  const places = placesOf(parcel)
  const heads = headsOf(parcel)
  const kept = new Kept(0, 0, { heads, rows })
  const piece = ([from, to]: readonly [number, number]): Uint8Array => bytes.subarray(from, to)
  const bodies = new Map<number, Uint8Array>()
  const shared = new Map<KeptHead, Pick<EncodedRecord, 'scope' | 'start' | 'body'>>()
  let number = 0
  let nextKey = 0
  const share = (head: KeptHead, { scope, start }: Span) => {
    const { body } = head
    const known = body && (bodies.get(body.from) ?? piece([body.from, body.from + body.size]))
    if (body && known) bodies.set(body.from, known)
    const both = { scope: piece(scope), start: head.start > 0 ? piece(start) : undefined, body: known }
    shared.set(head, both)
    return both
  }
  return calls.map((count) => {
    const records: EncodedRecord[] = []
    for (const end = number + count; number < end; number++) {
      const head = kept.head(number)
      const span = kept.span(number)
      const hasKey = keyed[nextKey * 2] === number
      const key = hasKey ? keys[nextKey] : undefined
      const mayRepeat = !hasKey || keyed[nextKey * 2 + 1] === 1
      if (hasKey) nextKey++
      const { lane, peer } = head
      const place = places[head.place] as ParcelPlace // as the packer laid them
      records.push({
        ...place,
        lane,
        peer,
        key,
        mayRepeat,
        ...(shared.get(head) ?? share(head, span)),
        event: piece(span.event),
      })
    }
    return records
  })
}
