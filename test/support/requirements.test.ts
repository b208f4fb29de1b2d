/** Tests the helper that skips tests whose program is missing. */
import { expect, test } from '@jest/globals'
import path from 'node:path'
import { findProgram, requires } from './requirements.ts'

test('a program that is on the PATH is found, by the first of several names', () => {
  expect(findProgram('no-such-program', 'node')).toMatch(/node$/)
  expect(path.isAbsolute(findProgram('node') ?? '')).toBe(true)
  expect(findProgram('no-such-program')).toBeUndefined()
})

test('what is missing is named, each program once, alternatives together', () => {
  expect(requires('node').missing).toEqual([])
  expect(requires('no-such-one|node').missing).toEqual([])
  expect(requires('no-such-one|no-such-two', 'node', 'no-such-three').missing).toEqual([
    'no-such-one|no-such-two',
    'no-such-three',
  ])
})
