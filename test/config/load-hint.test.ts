/** Handlers that do not load: what to do about it stands behind what Node says. */
import { expect, test } from '@jest/globals'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { loadHint } from '../../src/config/load-hint.ts'
import { realMain, run } from '../support/child.ts'
import { temporaryFolder } from '../support/config-text.ts'

test.each([
  [
    "import { fetchIt } from 'fetch-it-all'",
    "Cannot find package 'fetch-it-all'",
    '; install it in the folder of the file or one above it: npm install fetch-it-all',
  ],
  [
    "import { SmsConsumer } from 'signalbox'",
    "Cannot find package 'signalbox'",
    '; signalbox has to be installed in the folder of the file or one above it, so that its node_modules has it',
  ],
  [
    "import { Reading } from './types.ts'",
    "does not provide an export named 'Reading'",
    '; if Reading is a type: import type { Reading }, or import { type Reading }',
  ],
])('%s', async (line, why, hint) => {
  await using place = await temporaryFolder()
  await writeFile(path.join(place.folder, 'package.json'), '{ "type": "module" }')
  await writeFile(path.join(place.folder, 'types.ts'), 'export interface Reading { readonly celsius: number }\n')
  await writeFile(path.join(place.folder, 'site.ts'), `${line}\nexport const site = async () => {}\n`)
  const yaml =
    'listen: { http: { address: 127.0.0.1:0 } }\napplication: { ProtocolTypeRouter: { http: ./site.ts#site } }\n'
  await writeFile(path.join(place.folder, 'gateway.yaml'), yaml)
  const { code, out } = await run(realMain, ['check'], { folder: place.folder })
  expect(code).toBe(78)
  expect(out).toContain(why)
  expect(out).toContain(`expected it to load${hint}`)
})

test.each([new Error('boom'), 'thrown text', undefined])('nothing is said of %s', (error) => {
  expect(loadHint(error)).toBe('')
})
