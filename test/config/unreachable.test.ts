/** A rule that can never match is found, and no rule that can match is called so. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { mistakes, withApplication } from '../support/config-text.ts'

const site = './handlers.ts#site'
const url = (...rules: string[]) => withApplication('http:', '  URLRouter:', ...rules.map((rule) => `    - ${rule}`))
/** The lines of the rules that are called unreachable; the first rule stands in line 11. */
async function unreachable(text: string): Promise<readonly string[]> {
  const found = await mistakes(text)
  return found
    .filter((line) => line.includes('can never match'))
    .map((line) => line.replace(/ application.*?(?:\(.*?\))?: /, ': '))
}

test('the same rule twice', async () => {
  const text = url(
    `{ url: "^chat/$", app: ${site} }`,
    `{ path: /x, app: ${site} }`,
    `{ url: "^chat/$", app: ./handlers.ts#chat }`,
  )
  expect(await mistakes(text)).toEqual([
    '13:11 application.ProtocolTypeRouter.http.URLRouter[2] found a rule of URLRouter that can never match (url ^chat/$): the same rule stands in line 11, expected it before that one',
  ])
})

describe('a later rule', () => {
  const topics = (...rules: string[]) =>
    withApplication('mqtt:', '  TopicRouter:', ...rules.map((topic) => `    - { topic: "${topic}", app: ${site} }`))
  const phones = (...rules: string[]) =>
    withApplication('sms:', '  SMSFromRouter:', ...rules.map((phone) => `    - { phone: "${phone}", app: ${site} }`))

  test.each<[string, string, readonly number[]]>([
    [
      'after one that takes everything',
      url(`{ url: ^, app: ${site} }`, `{ path: /a, app: ${site} }`, `{ url: "x$", app: ${site} }`),
      [12, 13],
    ],
    [
      'below a longer prefix that comes first',
      url(`{ path: /a/b, app: ${site} }`, `{ path: /a/:x, app: ${site} }`),
      [],
    ],
    ['below a parameter that comes first', url(`{ path: /a/:x, app: ${site} }`, `{ path: /a/b, app: ${site} }`), [12]],
    [
      'below a parameter that does not take everything',
      url(`{ path: "/a/:x<int>", app: ${site} }`, `{ path: /a/b, app: ${site} }`),
      [],
    ],
    ['of another length', url(`{ path: /a/:x, app: ${site} }`, `{ path: /a, app: ${site} }`), []],
    [
      'below all that is under a path',
      url(`{ path: /a/*, app: ${site} }`, `{ path: /a/b/c, app: ${site} }`, `{ path: /b, app: ${site} }`),
      [12],
    ],
    ['whose one address an expression takes', url(`{ url: "^x+", app: ${site} }`, `{ path: /x, app: ${site} }`), [12]],
    ['whose one address no expression takes', url(`{ url: "^y+", app: ${site} }`, `{ path: /x, app: ${site} }`), []],
    [
      'after an expression that may take some',
      url(`{ url: "^x+", app: ${site} }`, `{ path: "/:x", app: ${site} }`),
      [],
    ],
    ['of the topics below one', topics('a/#', 'a/b', 'b/#'), [12]],
    ['of one more topic than those', topics('a/+x', 'a/#'), []],
    ['of the numbers below a prefix', phones('+1', '+1415', '+44'), [12]],
    ['of the numbers above a prefix', phones('+1415', '+1'), []],
  ])('%s', async (_, text, lines) => {
    expect((await unreachable(text)).map((line) => Number(line.split(':')[0]))).toEqual(lines)
  })
})

describe('an earlier rule that takes everything but may hand it back', () => {
  const api = (inner: string) => url(`{ url: ^, app: ${inner} }`, `{ path: /b, app: ${site} }`)

  test.each<[string, string, number]>([
    ['a router with one path', `{ URLRouter: [{ path: /a, app: ${site} }] }`, 0],
    [
      'a router that takes everything itself',
      `{ URLRouter: [{ path: /a, app: ${site} }, { url: ^, app: ${site} }] }`,
      1,
    ],
    [
      'a middleware around a router with one path',
      `{ accessLog: { app: { URLRouter: [{ path: /a, app: ${site} }] } } }`,
      0,
    ],
    ['a middleware around an application', `{ accessLog: { app: ${site} } }`, 1],
    ["a router of the user's", `{ ./handlers.ts#lastLetterRouter: [{ letter: a, app: ${site} }] }`, 0],
    ['an application that answers for itself what it takes', './handlers.ts#picky', 0],
  ])('%s', async (_, inner, count) => {
    expect(await unreachable(api(inner))).toHaveLength(count)
  })
})

describe('an expression that begins with the slash that paths are matched without', () => {
  const warned = (line: number, source: string, expected: string) =>
    `${line}:11 application.ProtocolTypeRouter.http.URLRouter[${line - 11}] found a rule of URLRouter that can never match (url ${source}): paths are matched without their leading slash, expected ${expected}`

  test.each([
    ['^/z$', '^z$'],
    ['^/chat/(?<room>[^/]+)$', '^chat/(?<room>[^/]+)$'],
    ['^/', '^'],
    [String.raw`^\/z$`, '^z$'],
  ])('%s is warned of, and the file is taken', async (source, expected) => {
    const text = url(`{ path: /a, app: ${site} }`, `{ url: '${source}', app: ${site} }`)
    expect(await mistakes(text)).toEqual([warned(12, source, expected)])
  })

  test('below another router it may be right, and so may one that is not anchored', async () => {
    const inner = `{ accessLog: { app: { URLRouter: [{ url: ^/z$, app: ${site} }] } } }`
    expect(await mistakes(url(`{ url: ^api, app: ${inner} }`, `{ url: /z$, app: ${site} }`))).toEqual([])
  })
})

test('no rule that some address reaches is called unreachable', async () => {
  const level = fc.constantFrom('a', 'b', '+x', '+y')
  const filter = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, open]) => [...levels, ...(open ? ['#'] : [])].join('/'))
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(filter, { minLength: 2, maxLength: 5 }), async (filters) => {
      const text = withApplication(
        'mqtt:',
        '  TopicRouter:',
        ...filters.map((topic) => `    - { topic: "${topic}", app: ${site} }`),
      )
      const called = (await unreachable(text)).map((line) => Number(line.split(':')[0]) - 11)
      const reached = new Set(addresses.map((address) => filters.findIndex((topic) => matches(topic, address))))
      expect(called.filter((index) => reached.has(index))).toEqual([])
    }),
    { numRuns: 60 },
  )
})

const words = ['a', 'b', 'c']
/** Every topic of one to four of these levels. */
const addresses = [1, 2, 3, 4].flatMap((length) =>
  Array.from({ length: words.length ** length }, (_, number) =>
    Array.from({ length }, (_, place) => words[Math.floor(number / words.length ** place) % words.length]).join('/'),
  ),
)

function matches(filter: string, address: string): boolean {
  const levels = filter.split('/')
  const found = address.split('/')
  const open = levels.at(-1) === '#'
  const fixed = open ? levels.slice(0, -1) : levels
  const fits = fixed.every((level, index) =>
    level.startsWith('+') ? found[index] !== undefined : level === found[index],
  )
  return fits && (open ? found.length >= fixed.length : found.length === fixed.length)
}
