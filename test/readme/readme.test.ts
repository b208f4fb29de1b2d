/** Keeps the README true: what it quotes, what it links to, and its first handler on a real gateway. */
import { expect, test } from '@jest/globals'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { WebSocket } from 'ws'
import { Running, realMain } from '../support/child.ts'

const root = path.join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const rules = (text: string) =>
  Array.from(text.matchAll(/^ *- (\{ (?:url|path|regex|phone): .*\})$/gm), ([, rule = '']) => rule)

test.each([
  ['bell.ts', 'README.md'],
  ['bell.test.ts', 'README.md'],
  ['guests.ts', 'README.md'],
  ['gate.ts', 'src/consumers/README.md'],
])('%s stands in %s word for word', (file, page) => {
  expect(read(page)).toContain(`\`\`\`ts\n${read(`test/readme/${file}`)}\`\`\``)
})

test('every rule that the README shows is a rule of the sample or of the doorbell', () => {
  const doorbell = rules(read('test/readme/gateway.yaml')).map((rule) => rule.replace('./', './handlers/'))
  const known = new Set([...rules(read('config/gateway.yaml').replaceAll(/ +#.*$/gm, '')), ...doorbell])
  const shown = rules(read('README.md'))
  expect(shown.length).toBeGreaterThan(5)
  expect(shown.filter((rule) => !known.has(rule))).toEqual([])
  expect(doorbell.filter((rule) => !shown.includes(rule))).toEqual([])
})

test.each(['README.md', 'CONTRIBUTING.md', 'src/consumers/README.md'])(
  'every file that %s links to is there',
  (page) => {
    const links = Array.from(read(page).matchAll(/\]\((?!https?:)([^)#]+)\)/g), ([, link = '']) => link)
    expect(links.filter((link) => !existsSync(path.join(root, path.dirname(page), link)))).toEqual([])
  },
)

test('the doorbell rings, and the guest book is signed, on a real gateway', async () => {
  const data = mkdtempSync(path.join(tmpdir(), 'signalbox-readme-'))
  const environment = { SIGNALBOX_DATA: data }
  await using gateway = new Running(realMain, ['serve', 'test/readme/gateway.yaml'], { environment })
  const [, host = ''] = await gateway.sees('out', /http:\/\/(\S+)/)
  await gateway.sees('out', /^ {2}data /m)

  const socket = new WebSocket(`ws://${host}/bell/`)
  await once(socket, 'open')
  const heard = once(socket, 'message')
  const response = await fetch(`http://${host}/ring/ann`, { method: 'POST' })
  expect(await response.text()).toBe('1 heard it\n')
  expect(String((await heard)[0])).toBe('ann is at the door')

  const signed = await fetch(`http://${host}/guests`, { method: 'POST', body: 'ann' })
  expect(await signed.json()).toEqual([{ name: 'ann' }])

  socket.close()
  await once(socket, 'close')
  rmSync(data, { recursive: true })
})
