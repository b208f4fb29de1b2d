/** The small parts of the bridge, without threads: packing, envelopes, the fair queue. */
import { describe, expect, test } from '@jest/globals'
import type { Transferable } from 'node:worker_threads'
import fc from 'fast-check'
import { decodeError, encodeError } from '../../src/bridge/envelope.ts'
import { FairQueue } from '../../src/bridge/fair-queue.ts'
import { pack, packAll, packToMove, transfer } from '../../src/bridge/pack.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'

/** Bytes, of their own or in a slab. */
const bytes = fc.tuple(fc.uint8Array({ maxLength: 20 }), fc.nat({ max: 5 })).map(([content, before]) => {
  const slab = new Uint8Array(content.length + before)
  slab.set(content, before)
  return slab.subarray(before)
})
const data = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, undefined, true),
    fc.string(),
    fc.double(),
    fc.bigInt(),
    fc.date({ noInvalidDate: true }),
    bytes,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 4 }),
  ),
})).value

const cloned = (value: unknown, transfer: readonly Transferable[] = []) =>
  structuredClone(value, { transfer: [...transfer] as ArrayBuffer[] })

describe('packing', () => {
  test('changes nothing that can be seen, is sure of plain data, and leaves the original as it was', () => {
    fc.assert(
      fc.property(data, (value) => {
        const before = cloned(value)
        const packed = pack(value)
        expect(cloned(packed.value, packed.transfer)).toEqual(before)
        expect(value).toEqual(before)
      }),
    )
  })

  test('never takes more memory along than the bytes that are seen', () => {
    fc.assert(
      fc.property(fc.array(bytes), (all) => {
        const { value, transfer: buffers } = pack({ all })
        const there = cloned(value, buffers) as { all: Uint8Array[] }
        for (const each of there.all) expect(each.buffer.byteLength).toBe(each.byteLength)
      }),
    )
  })

  test('says of what it is sure of only that it can be cloned', () => {
    fc.assert(
      fc.property(
        fc.anything({
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withSparseArray: true,
          withNullPrototype: true,
        }),
        (value) => {
          const { sure, value: packed } = pack(value)
          if (sure) cloned(packed)
        },
      ),
    )
  })

  test.each([
    ['a function', { a: [() => 1] }],
    ['a symbol', [Symbol('a')]],
    ['a proxy', { a: new Proxy([], {}) }],
    ['a Map', new Map()],
    ['an instance', { at: new (class Point {})() }],
    ['detached memory', detached()],
    ['a circle', circle()],
    ['a value that is too large to look through', Array.from({ length: 20_000 }, () => ({}))],
  ])('is not sure of %s', (_, value) => {
    expect(pack(value).sure).toBe(false)
  })

  test('moves what is marked, in any argument', () => {
    const buffers = [new ArrayBuffer(3), new ArrayBuffer(4)] as const
    const packed = packAll([
      1,
      transfer({ view: new Uint8Array(buffers[0]) }, [buffers[0]]),
      transfer([buffers[1]], [buffers[1]]),
    ])
    expect(packed.transfer).toEqual(buffers)
    expect(packed.value).toEqual([1, { view: new Uint8Array(3) }, [buffers[1]]])
  })

  test('moves what is marked deep inside', () => {
    const buffer = new ArrayBuffer(3)
    const packed = pack({ type: 'a.b', deep: [transfer(new Uint8Array(buffer), [buffer])] })
    expect(packed.transfer).toEqual([buffer])
    expect(packed.value).toEqual({ type: 'a.b', deep: [new Uint8Array(3)] })
  })

  test('to move takes whole memory, once, and copies the rest', () => {
    const own = new Uint8Array([1, 2])
    const slab = new Uint8Array(8)
    const { value, transfer: buffers } = packToMove({ a: own, b: [own], part: slab.subarray(2, 4) })
    expect(buffers).toHaveLength(2)
    expect(buffers).toContain(own.buffer)
    expect(buffers).not.toContain(slab.buffer)
    const there = cloned(value, buffers) as { a: Uint8Array; b: Uint8Array[]; part: Uint8Array }
    expect([...there.a, ...(there.b[0] ?? []), ...there.part]).toEqual([1, 2, 1, 2, 0, 0])
    expect([own.byteLength, slab.byteLength]).toEqual([0, 8])
  })

  function detached() {
    const own = new Uint8Array(1)
    cloned(own, [own.buffer])
    return own
  }
  function circle() {
    const self: unknown[] = []
    self.push(self)
    return self
  }
})

describe('an error in an envelope', () => {
  const there = (error: unknown) =>
    decodeError(cloned(encodeError(error, 'it')) as ReturnType<typeof encodeError>, 'elsewhere')

  test('comes out with its name, message, code and causes', () => {
    const names = fc.constantFrom(Error, TypeError, RangeError, SyntaxError)
    fc.assert(
      fc.property(names, fc.string(), fc.string(), (Kind, message, code) => {
        const error = Object.assign(new Kind(message, { cause: new Error('why', { cause: 'for no reason' }) }), {
          code,
        })
        const back = there(error)
        expect(back).toMatchObject({
          name: Kind.name,
          message,
          code,
          cause: { message: 'why', cause: 'for no reason' },
        })
        expect(back).toBeInstanceOf(Kind)
      }),
    )
  })

  test('of ours is ours again', () => {
    const back = there(new SignalboxError('closing', 'no more'))
    expect(back).toBeInstanceOf(SignalboxError)
    expect(back).toMatchObject({ code: 'closing', message: 'no more', name: 'SignalboxError' })
  })

  test('with a name of its own keeps it', () => {
    class OddError extends Error {
      override readonly name = 'OddError'
    }
    expect(there(new OddError('odd'))).toMatchObject({ name: 'OddError', message: 'odd' })
    expect(there(new DOMException('gone', 'AbortError'))).toMatchObject({ name: 'AbortError', message: 'gone' })
  })

  test('that is none is told what it is, whatever it is', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(there(value)).toMatchObject({
          code: 'bridge_failed',
          message: expect.stringMatching(/^it threw [^]*, expected an Error$/) as unknown,
        })
      }),
    )
  })

  test('that cannot be looked at is one all the same', () => {
    const hostile = Object.defineProperty(new Error('x'), 'message', {
      get: () => {
        throw new Error('hands off')
      },
    })
    expect(there(hostile).message).toContain('hands off')
  })
})

describe('the fair queue', () => {
  test('gives everything once, each key in its order, and no key twice while another waits', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c'), n: fc.nat() })), (items) => {
        const queue = new FairQueue<(typeof items)[number]>()
        for (const item of items) queue.push(item.key, item)
        const waiting = new Map<string, number>()
        for (const { key } of items) waiting.set(key, (waiting.get(key) ?? 0) + 1)
        const out: typeof items = []
        for (let item = queue.shift(); item; item = queue.shift()) {
          const before = out.at(-1)
          waiting.set(item.key, (waiting.get(item.key) ?? 0) - 1)
          if (before?.key === item.key) {
            for (const [key, count] of waiting) if (key !== item.key) expect(count).toBe(0)
          }
          out.push(item)
        }
        expect(queue.length).toBe(0)
        for (const key of ['a', 'b', 'c']) {
          expect(out.filter((item) => item.key === key)).toEqual(items.filter((item) => item.key === key))
        }
      }),
    )
  })

  test('forgets what is removed, and only that', () => {
    const queue = new FairQueue<number>()
    for (const n of [1, 2, 3]) queue.push('a', n)
    queue.push('b', 4)
    queue.remove('a', 1)
    queue.remove('b', 4)
    queue.remove('b', 4)
    queue.remove('c', 5)
    expect(queue.length).toBe(2)
    expect([...queue]).toEqual([2, 3])
    expect(queue.clear()).toEqual([2, 3])
    expect(queue.shift()).toBeUndefined()
  })
})
