/** Folders are made, or it is said why they cannot be. */
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import { hasCode } from '../../src/runtime/errors.ts'
import { makeFolder } from '../../src/runtime/make-folder.ts'

const folder = fs.mkdtempSync(path.join(tmpdir(), 'signalbox-folder-'))
afterAll(() => fs.rmSync(folder, { recursive: true }))

function errorOf(act: () => void): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  return undefined
}

test('a folder is made with those above it, for nobody else to read, and stays when it is there', () => {
  const inner = path.join(folder, 'a', 'b')
  makeFolder(inner)
  makeFolder(inner)
  expect(fs.statSync(inner).mode & 0o777).toBe(0o700)
})

test('a file in its place is an error', () => {
  const file = path.join(folder, 'file')
  fs.writeFileSync(file, '')
  expect(
    hasCode(
      errorOf(() => makeFolder(file)),
      'EEXIST',
    ),
  ).toBe(true)
  expect(
    hasCode(
      errorOf(() => makeFolder(path.join(file, 'below'))),
      'ENOTDIR',
    ),
  ).toBe(true)
})

test.each(['nope', 'nope/below'])(
  'a place where no folder can be made is an error, and no endless loop: /proc/%s',
  (name) => {
    if (process.platform !== 'linux') return
    expect(
      hasCode(
        errorOf(() => makeFolder(path.join('/proc', name))),
        'ENOENT',
      ),
    ).toBe(true)
  },
)
