/** Keeps the page of error codes equal to the table, and the table free of codes that nothing raises. */
import { expect, test } from '@jest/globals'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { errorCodes, hasCode, reason, SignalboxError } from '../src/runtime/errors.ts'

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

function thrownBy(act: () => unknown): unknown {
  try {
    return act()
  } catch (error) {
    return error
  }
}
