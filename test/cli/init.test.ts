/** `signalbox init`: a first YAML that has no mistakes, and nothing overwritten. */
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { protocols } from '../../protocols/registry.ts'
import type { Registry } from '../../src/config/registry.ts'
import { Running, realMain, type Ended } from '../support/child.ts'
import { commandLine } from '../support/command-line.ts'
import { temporaryFolder } from '../support/config-text.ts'

const registry: Registry = { definitions: Object.values(protocols), routers: [], middleware: [] }

const signalbox = (folder: string, ...line: readonly string[]): Promise<Ended> =>
  commandLine(line, { folder, loadRegistry: () => Promise.resolve(registry) })

test('what it writes has no mistakes, and answers', async () => {
  await using place = await temporaryFolder()
  const { code, out } = await signalbox(place.folder, 'init', 'new')
  expect({ code, out }).toEqual({
    code: 0,
    out: 'wrote new/gateway.yaml\nwrote new/handlers.mjs\ntry: npx signalbox serve new/gateway.yaml\n',
  })
  const folder = path.join(place.folder, 'new')
  expect(await signalbox(folder, 'check')).toEqual({ code: 0, out: 'gateway.yaml: no mistakes\n', error: '' })
  const file = path.join(folder, 'gateway.yaml')
  await writeFile(file, (await readFile(file, 'utf8')).replace('127.0.0.1:8000', '127.0.0.1:0'))
  await using gateway = new Running(realMain, ['serve'], { folder })
  const [, url = ''] = await gateway.sees('out', /http +(http:\/\/127\.0\.0\.1:\d+)/)
  expect(await (await fetch(`${url}/hello/ann`)).text()).toBe('Hello, ann\n')
  expect(await (await fetch(url)).text()).toBe('Hello, world\n')
})

test.each(['gateway.yaml', 'handlers.mjs'])('it writes nothing where there is a %s', async (name) => {
  await using place = await temporaryFolder()
  const folder = path.join(place.folder, 'mine')
  await mkdir(folder)
  await writeFile(path.join(folder, name), 'mine')
  const { code, error } = await signalbox(folder, 'init')
  expect({ code, error }).toEqual({
    code: 1,
    error: `found ${name}, which init does not overwrite: nothing is written\n`,
  })
  expect(await readFile(path.join(folder, name), 'utf8')).toBe('mine')
  expect(await readdir(folder)).toEqual([name])
})

test('a folder that cannot be made is an error in words', async () => {
  await using place = await temporaryFolder()
  await writeFile(path.join(place.folder, 'file'), '')
  const { code, error } = await signalbox(place.folder, 'init', 'file/below')
  expect(code).toBe(1)
  expect(error).toMatch(/^the files cannot be written: ENOTDIR/)
})

test('where there is no YAML it is told what writes one', async () => {
  await using place = await temporaryFolder()
  const { code, error, out } = await signalbox(path.join(place.folder, 'empty'), 'check')
  expect(code).toBe(78)
  expect(out + error).toContain(
    "gateway.yaml:1:1  found no such file, expected the gateway's YAML: `npx signalbox init` writes a first one",
  )
})
