/** What a WebSocket client may write, and may not: frames, their bytes, and the pieces in which those come. */
import fc from 'fast-check'

export interface Frame {
  /** FIN, the reserved bits and the opcode. */
  readonly first: number
  readonly payload: Uint8Array
  /** Undefined: it has none, which no client may do. */
  readonly mask: Uint8Array | undefined
  /** Bytes that say how long it is, where fewer would do too. */
  readonly wide: 0 | 2 | 8
}

export function bytesOf({ first, payload, mask, wide }: Frame): Buffer {
  const { length } = payload
  const size = Math.max(wide, length < 126 ? 0 : length < 65_536 ? 2 : 8)
  const header = Buffer.alloc(2 + size)
  header[0] = first
  header[1] = (mask ? 0x80 : 0) | (size === 0 ? length : size === 2 ? 126 : 127)
  if (size === 2) header.writeUInt16BE(length, 2)
  if (size === 8) header.writeBigUInt64BE(BigInt(length), 2)
  if (!mask) return Buffer.concat([header, payload])
  return Buffer.concat([header, mask, payload.map((byte, index) => byte ^ (mask[index % 4] as number))])
}

export function cut(bytes: Buffer, at: readonly number[]): readonly Buffer[] {
  const ends = [...at.map((part) => part % (bytes.length + 1)).toSorted((one, other) => one - other), bytes.length]
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end)).filter(({ length }) => length > 0)
}

export const text = (payload: string) => Buffer.from(payload)
const size = fc.oneof(fc.nat(300), fc.constantFrom(0, 125, 126, 127, 2999, 3000, 3001, 4096, 4097, 65_536))
const payload = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }).map(text),
  fc
    .tuple(fc.constantFrom('a', 'é', '語', '🚃'), fc.nat(1100))
    .map(([character, times]) => text(character.repeat(times))),
  fc.uint8Array({ maxLength: 60 }),
  size.map((length) => new Uint8Array(length).fill(0x40 + (length % 60))),
)
const mask = fc.uint8Array({ minLength: 4, maxLength: 4 })
const wide = fc.constantFrom(0, 0, 0, 2, 8)
const whole = fc.record({ first: fc.constantFrom(0x81, 0x82), payload, mask, wide })
const small = fc.uint8Array({ maxLength: 125 })
const control = fc.record({ first: fc.constantFrom(0x89, 0x8a), payload: small, mask, wide: fc.constant(0) })
/** A message in fragments, with something between them. */
const fragmented = fc
  .tuple(fc.constantFrom(0x01, 0x02), fc.array(whole, { minLength: 2, maxLength: 4 }), fc.option(control))
  .map(([opcode, parts, between]) =>
    parts.flatMap((part, index) => {
      const first = (index === 0 ? opcode : 0x00) | (index === parts.length - 1 ? 0x80 : 0)
      return index === 1 && between ? [between, { ...part, first }] : [{ ...part, first }]
    }),
  )
const anything = fc.record({
  first: fc.nat(255),
  payload,
  mask: fc.option(mask, { nil: undefined }),
  wide,
})
export const frames = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: whole.map((frame) => [frame]) },
      { weight: 2, arbitrary: control.map((frame) => [frame]) },
      { weight: 2, arbitrary: fragmented },
      { weight: 1, arbitrary: anything.map((frame) => [frame]) },
    ),
    { maxLength: 8 },
  )
  .map((groups) => groups.flat() as readonly Frame[])
