/** What an older Node says, before it meets anything that it cannot read. */
import { expect, test } from '@jest/globals'
import { readFile } from 'node:fs/promises'
import { Script } from 'node:vm'
import { realMain, run } from '../support/child.ts'

const pretend = (version: string) => {
  const code = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`
  return { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(code)}` }
}

test.each(['20.19.2', '18.0.0', '9.11.2'])('Node %s is told which one is needed', async (version) => {
  const { code, out, error } = await run(realMain, ['serve'], { environment: pretend(version) })
  expect({ code, out }).toEqual({ code: 1, out: '' })
  expect(error).toContain(`signalbox needs Node 24 or newer; this is Node ${version}.`)
})

test('the file that says so is plain enough for any of them: no module syntax, nothing newer than ES2015', async () => {
  const text = await readFile(realMain, 'utf8')
  expect(() => new Script(text.replace(/^#!.*/, ''))).not.toThrow()
  expect(text).not.toMatch(/\?\.|\?\?|\basync\b|\bawait\b|\.\.\.|^import |^export |catch \{/m)
})
