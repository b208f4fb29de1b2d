/** The parts that parse and count, by property: the form, the text, TwiML, the memory of duplicates. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import MessagingResponse from 'twilio/lib/twiml/MessagingResponse.js'
import { Duplicates } from '../../../protocols/sms/duplicates.ts'
import { FormReader } from '../../../protocols/sms/form.ts'
import { printable, segments } from '../../../protocols/sms/text.ts'
import { twiml } from '../../../protocols/sms/twiml.ts'

const parseForm = (body: Uint8Array) => new FormReader().read(body)
const bytes = (text: string) => new TextEncoder().encode(text)
/** One of these letters. */
const letterOf = (letters: string) => fc.constantFrom(...Array.from(letters))
const anyText = fc.string({ unit: 'binary', maxLength: 40 })

describe('the form', () => {
  test('reads back what any encoder of the platform writes', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(
          fc.tuple(
            anyText.filter((name) => name !== ''),
            anyText,
          ),
          { selector: ([name]) => name },
        ),
        (pairs) => {
          expect([...parseForm(bytes(new URLSearchParams(pairs).toString()))]).toEqual(pairs)
          const percent = pairs.map((pair) => pair.map(encodeURIComponent).join('=')).join('&')
          expect([...parseForm(bytes(percent))]).toEqual(pairs)
        },
      ),
    )
  })

  test('either refuses any bytes in words, or reads what the platform’s lenient parser reads', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.string({ unit: letterOf('ab=&%+4F\u00e9') }).map(bytes)),
        (body) => {
          let strict: (readonly [string, string])[]
          try {
            strict = [...parseForm(body)]
          } catch (error) {
            expect(String(error)).toMatch(/expected|stands twice/)
            return
          }
          expect(strict).toEqual([
            ...new URLSearchParams(
              Buffer.from(body)
                .toString('latin1')
                .replaceAll(/[\u0080-\u00ff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`),
            ),
          ])
        },
      ),
      { numRuns: 500 },
    )
  })

  test('is read as if it were the first, whatever was read before', () => {
    const body = fc.array(
      fc.tuple(
        fc.constantFrom('a', 'b', 'ab', '%61', 'a+', 'é'),
        fc.string({ unit: letterOf('ab=%+4F\u00e9'), maxLength: 4 }),
      ),
      { maxLength: 4 },
    )
    const outcomeOf = (read: () => ReturnType<FormReader['read']>) => {
      try {
        const form = read()
        return { pairs: [...form], joined: form.joined }
      } catch (error) {
        return String(error)
      }
    }
    fc.assert(
      fc.property(fc.array(body, { minLength: 2, maxLength: 6 }), (bodies) => {
        const reader = new FormReader()
        for (const pairs of bodies) {
          const form = bytes(pairs.map((pair) => pair.join('=')).join('&'))
          expect(outcomeOf(() => reader.read(form))).toEqual(outcomeOf(() => parseForm(form)))
        }
      }),
      { numRuns: 500 },
    )
  })

  test('joins names and values in the order of the names', () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          anyText.filter((name) => name !== '' && name === name.toWellFormed()),
          anyText,
        ),
        (values) => {
          const form = parseForm(bytes(new URLSearchParams(values).toString()))
          const wellFormed = Object.keys(values).toSorted()
          expect(form.joined).toBe(wellFormed.map((name) => name + values[name]?.toWellFormed()).join(''))
          for (const name of wellFormed) expect(form.get(name)).toBe(values[name]?.toWellFormed())
          expect(form.get('nobody has this name, which is longer than they are')).toBeUndefined()
        },
      ),
    )
  })

  test('a name that objects have is a name like any other', () => {
    expect([...parseForm(bytes('__proto__=1&constructor=2'))]).toEqual([
      ['__proto__', '1'],
      ['constructor', '2'],
    ])
  })

  test.each(['a', '=b', '&', 'a=1&', 'a=1&a=2', 'a=%', 'a=%4', 'a=%zz', 'a=%ff', 'a=%c3%28', 'a=%ed%a0%80', '%ff=1'])(
    '%j is refused',
    (text) => {
      expect(() => parseForm(bytes(text))).toThrow()
    },
  )

  test.each([
    ['', []],
    ['a=', [['a', '']]],
    ['a=b=c', [['a', 'b=c']]],
    ['a=1+2%2B3', [['a', '1 2+3']]],
    ['a=%EF%BB%BFb', [['a', '\ufeffb']]],
  ])('%j is read', (text, pairs) => {
    expect([...parseForm(bytes(text))]).toEqual(pairs)
  })
})

describe('segments', () => {
  const basic = letterOf('aZ09 @£$_!"#%&()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüàΔΦΓ\n')
  const extended = letterOf('^{}\\[~]|€')
  const other = letterOf('çáő中я`🙂👍')

  test.each([
    ['', 0],
    ['a'.repeat(160), 1],
    ['a'.repeat(161), 2],
    ['a'.repeat(306), 2],
    ['a'.repeat(307), 3],
    ['€'.repeat(80), 1],
    ['€'.repeat(81), 2],
    // 153 is odd: an escape and its letter stay together, so 76 of them go into a segment.
    ['€'.repeat(152), 2],
    ['€'.repeat(153), 3],
    ['я'.repeat(70), 1],
    ['я'.repeat(71), 2],
    ['я'.repeat(134), 2],
    ['я'.repeat(135), 3],
    ['🙂'.repeat(35), 1],
    ['🙂'.repeat(36), 2],
    // 67 is odd: a letter of two units stays together, so 33 of them go into a segment.
    ['🙂'.repeat(66), 2],
    ['🙂'.repeat(67), 3],
    [`${'a'.repeat(159)}ç`, 3],
  ])('of %j: %i', (text, count) => expect(segments(text)).toBe(count))

  test('letters of the alphabet alone: by 160, then by 153', () => {
    fc.assert(
      fc.property(fc.string({ unit: basic, minLength: 1, maxLength: 1600 }), (text) => {
        expect(segments(text)).toBe(text.length <= 160 ? 1 : Math.ceil(text.length / 153))
      }),
    )
  })

  test('never fewer than the septets or units need, never more than the gaps at the ends can cost', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(basic, extended), { minLength: 1, maxLength: 900 }), (letters) => {
        const septets = letters.reduce((sum, letter) => sum + ('^{}\\[~]|€'.includes(letter) ? 2 : 1), 0)
        const count = segments(letters.join(''))
        if (septets <= 160) expect(count).toBe(1)
        else {
          expect(count).toBeGreaterThanOrEqual(Math.ceil(septets / 153))
          expect(count).toBeLessThanOrEqual(Math.ceil(septets / 152))
        }
      }),
    )
  })

  test('one letter from elsewhere makes the whole text UCS-2', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(basic, other), { maxLength: 400 }), other, fc.nat(), (letters, foreign, where) => {
        const text = letters.toSpliced(where % (letters.length + 1), 0, foreign).join('')
        const count = segments(text)
        expect(count).toBeGreaterThanOrEqual(text.length <= 70 ? 1 : Math.ceil(text.length / 67))
        expect(count).toBeLessThanOrEqual(text.length <= 70 ? 1 : Math.ceil(text.length / 66))
      }),
    )
  })

  test('a text never takes less than its beginning', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(basic, extended, other), { maxLength: 300 }), fc.nat(300), (letters, cut) => {
        expect(segments(letters.slice(0, cut).join(''))).toBeLessThanOrEqual(segments(letters.join('')))
      }),
    )
  })
})

describe('a text on its way out', () => {
  test('any text goes into TwiML, and what a parser reads from it is the printable text', () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.oneof(
            letterOf('<>&"\'\r\n\t\0\u0007\u0085\ufffe]'),
            fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
            fc.constant('\ud800'),
          ),
        }),
        (text) => {
          const clean = printable(text)
          const [, inside] =
            /^<\?xml version="1.0" encoding="UTF-8"\?><Response><Message>([^<]*)<\/Message><\/Response>$/s.exec(
              twiml([{ body: `x${clean}`, media: [] }]),
            ) ?? []
          expect(unescape(inside ?? '')).toBe(`x${clean}`)
          expect(printable(clean)).toBe(clean)
        },
      ),
      { numRuns: 500 },
    )
  })

  test('TwiML is, letter for letter, what Twilio’s own builder writes', () => {
    const text = fc
      .string({ unit: fc.oneof(letterOf('<>&"\'\r\n]'), fc.string({ minLength: 1, maxLength: 1 })) })
      .map(printable)
    const reply = fc.record({ body: text, media: fc.array(fc.webUrl({ withQueryParameters: true }), { maxLength: 3 }) })
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 3 }), (replies) => {
        const built = new MessagingResponse()
        for (const { body, media } of replies) {
          const message = built.message(media.length === 0 ? body : '')
          if (media.length > 0 && body !== '') message.body(body)
          for (const url of media) message.media(url)
        }
        expect(twiml(replies)).toBe(built.toString())
      }),
    )
  })

  test('nothing is lost that can be seen', () => {
    const seen = 'Grüße, 世界 🙂 \t [x] {y} €\n'
    expect(printable(seen)).toBe(seen)
    expect(printable('a\r\nb\rc\0\u007f\u009f')).toBe('a\nb\nc')
  })
})

describe('the memory of duplicates', () => {
  test('holds what was set last within the window, and never more than its capacity', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('set' as const), key: fc.constantFrom('a', 'b', 'c', 'd', 'e'), value: fc.nat() }),
      fc.record({
        do: fc.constant('delete' as const),
        key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
        value: fc.constant(0),
      }),
      fc.record({ do: fc.constant('wait' as const), key: fc.constant(''), value: fc.nat(60) }),
    )
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        let now = 0
        const memory = new Duplicates<number>({ window: 100, capacity: 3, now: () => now })
        let model: { key: string; value: number; at: number }[] = []
        for (const { do: what, key, value } of steps) {
          if (what === 'wait') now += value
          else {
            model = model.filter((entry) => entry.key !== key)
            if (what === 'delete') memory.delete(key)
            else {
              memory.set(key, value)
              model = [...model, { key, value, at: now }].slice(-3)
            }
          }
          for (const name of 'abcde') {
            const entry = model.find((one) => one.key === name && now - one.at < 100)
            expect(memory.get(name)).toBe(entry?.value)
          }
          expect(memory.size).toBeLessThanOrEqual(3)
        }
      }),
    )
  })

  test('what is over its time is let go of when something new comes', () => {
    let now = 0
    const memory = new Duplicates<number>({ window: 100, capacity: 1000, now: () => now })
    for (let key = 0; key < 500; key++) memory.set(String(key), key)
    now = 100
    memory.set('new', 1)
    expect(memory.size).toBe(1)
  })
})

function unescape(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&lt;': '<',
    '&gt;': '>',
    '&amp;': '&',
    '&quot;': '"',
    '&apos;': "'",
  }
  return text.replaceAll(/&\w+;/g, (entity) => entities[entity] ?? entity)
}
