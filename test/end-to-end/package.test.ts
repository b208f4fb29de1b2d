/** The package as it is published: JavaScript built from the same sources, beside handlers of a user's own. */
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { Running, run } from '../support/child.ts'

const root = path.join(import.meta.dirname, '..', '..')
const yaml = `
listen: { http: { address: 127.0.0.1:0 } }
application: { ProtocolTypeRouter: { http: { URLRouter: [{ path: "/hi/:name", app: ./hello.ts#hello }] } } }
`
const hello = `
import { httpHandler } from 'signalbox'
export const hello = httpHandler(({ params }) => new Response('hi ' + params['name']))
`
let folder = ''
let main = ''

beforeAll(async () => {
  const npm = ['--silent', 'run', 'build']
  await promisify(execFile)('npm', npm, { cwd: root })
  // As npm would install it, with the dependencies of this checkout.
  folder = await mkdtemp(path.join(root, 'dist', 'user-'))
  const installed = path.join(folder, 'node_modules', 'signalbox')
  await mkdir(path.dirname(installed), { recursive: true })
  for (const part of ['package.json', 'bin', 'index.js', 'testing.js', 'main.js', 'src', 'protocols']) {
    await cp(path.join(root, 'dist', part), path.join(installed, part), { recursive: true })
  }
  await symlink(path.join(root, 'node_modules'), path.join(installed, 'node_modules'))
  await writeFile(path.join(folder, 'gateway.yaml'), yaml)
  await writeFile(path.join(folder, 'hello.ts'), hello)
  main = path.join(installed, 'bin', 'signalbox.js')
})

afterAll(() => rm(path.join(root, 'dist'), { recursive: true, force: true }))

test('the built package serves a handler that imports it by name', async () => {
  await using gateway = new Running(main, ['serve', 'gateway.yaml'], { folder })
  const [url] = await gateway.sees('out', /http:\/\/127\.0\.0\.1:\d+/)
  const response = await fetch(`${url}/hi/ann`)
  expect(await response.text()).toBe('hi ann')
})

test('it says its version, and its exports name files that are there', async () => {
  const { version, exports } = JSON.parse(await readFile(path.join(root, 'dist', 'package.json'), 'utf8')) as {
    version: string
    exports: Record<string, string>
  }
  expect((await run(main, ['--version'], { folder })).out.trim()).toBe(version)
  for (const file of Object.values(exports)) await readFile(path.join(root, 'dist', file))
})
