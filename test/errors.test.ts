/** Keeps the page of error codes equal to the table, and the table free of codes that nothing raises. */
import { expect, test } from '@jest/globals'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { errorCodes, hasCode, isInterruption, permanent, reason, SignalboxError } from '../src/runtime/errors.ts'

const root = path.join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')

test('errors.md lists exactly the codes of the table, in its order, with its sentences', () => {
  const rows = Array.from(read('src/runtime/errors.md').matchAll(/^\| `(\w+)` \| (.+) \|$/gm), ([, code, meaning]) => [
    code,
    meaning,
  ])
  expect(rows).toEqual(Object.entries(errorCodes))
})

test('every code stands in alphabetical order and means one sentence', () => {
  expect(Object.keys(errorCodes)).toEqual(Object.keys(errorCodes).toSorted())
  for (const meaning of Object.values(errorCodes)) expect(meaning).toMatch(/^[A-Z`].*\.$/)
})

test('every code is raised somewhere', () => {
  const source = globSync(['*.ts', 'src/**/*.ts', 'protocols/**/*.ts'], { cwd: root })
    .filter((file) => path.basename(file) !== 'errors.ts')
    .map(read)
    .join('\n')
  expect(Object.keys(errorCodes).filter((code) => !source.includes(`'${code}'`))).toEqual([])
})

test('an error is known by its code, also one that came from another realm or a worker', () => {
  const error = new SignalboxError('closing', 'no')
  expect(hasCode(error, 'closing')).toBe(true)
  expect(hasCode(error, 'timed_out')).toBe(false)
  expect(hasCode({ code: 'closing' }, 'closing')).toBe(false)
  expect(hasCode(undefined, 'closing')).toBe(false)
  expect(error.name).toBe('SignalboxError')
  expect(
    hasCode(
      thrownBy(() => readFileSync(path.join(root, 'no-such-file'))),
      'ENOENT',
    ),
  ).toBe(true)
})

test('whatever was thrown has a sentence', () => {
  expect(reason(new TypeError('not that'))).toBe('not that')
  expect(reason('text')).toBe('text')
  expect(reason(undefined)).toBe('undefined')
})

test.each<[string, unknown, RegExp]>([
  ['an object without a prototype', Object.assign(Object.create(null), { year: '2026' }), /year: '2026'/],
  ['an object whose text throws', { toString: fail }, /^\{ toString: /],
  ['an object whose text is none', { toString: () => ({}) }, /^\{ toString: /],
  ['an error whose message throws', Object.defineProperty(new Error('x'), 'message', { get: fail }), /./],
  ['an error all of which throws', hostile(), /./],
  ['an error whose message is no text', Object.assign(new Error('x'), { message: Symbol('why') }), /^Symbol\(why\)$/],
  ['an error whose message is nothing', Object.assign(new Error('x'), { message: undefined }), /^undefined$/],
  [
    'an object whose every text throws',
    {
      toString: fail,
      get [Symbol.toStringTag]() {
        return fail()
      },
    },
    /./,
  ],
  ['a symbol', Symbol('why'), /^Symbol\(why\)$/],
  ['a proxy', new Proxy({}, { get: fail, getPrototypeOf: fail, ownKeys: fail }), /./],
  ['a proxy that is over', revoked(), /./],
])('%s has a sentence too, and no code', (_, value, sentence) => {
  expect(reason(value)).toMatch(sentence)
  expect(hasCode(value, 'closing')).toBe(false)
  expect(isInterruption(value, new Error('closing'))).toBe(false)
  expect(hasCode(permanent(value), 'permanent')).toBe(true)
})

function fail(): never {
  throw new Error('a trap')
}

/** An error that throws whenever it is looked at. */
function hostile(): Error {
  const error = new Error('x')
  for (const name of ['name', 'message', 'stack', 'code', 'cause']) Object.defineProperty(error, name, { get: fail })
  return error
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

function thrownBy(act: () => unknown): unknown {
  try {
    return act()
  } catch (error) {
    return error
  }
}
