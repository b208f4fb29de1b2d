/** `serve` as a process: greeting, signals, errors that nobody caught, and another YAML while it runs. */
import { describe, expect, test } from '@jest/globals'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Running, run, toyMain } from '../support/child.ts'
import { temporaryFolder } from '../support/config-text.ts'

const yaml = (rule: string, more = '') =>
  `listen: { http: { address: 127.0.0.1:0 } }\n${more}application: { ProtocolTypeRouter: { http: { URLRouter: [${rule}] } } }\n`
const first = yaml('{ path: /first, app: ./handlers.ts#site }')
const second = yaml('{ path: /second, app: ./handlers.ts#site }')

async function serving(text = first) {
  const place = await temporaryFolder()
  const file = path.join(place.folder, 'gateway.yaml')
  await writeFile(file, text)
  const gateway = new Running(toyMain, ['serve'], { folder: place.folder })
  const [, url = ''] = await gateway.sees('out', /http +(http:\/\/127\.0\.0\.1:\d+)/)
  return {
    gateway,
    url,
    file,
    ask: async (where: string) => (await fetch(url + where)).text(),
    [Symbol.asyncDispose]: async () => {
      await gateway[Symbol.asyncDispose]()
      await place[Symbol.asyncDispose]()
    },
  }
}

test('greets with each address and a line to try it that a rule takes', async () => {
  await using place = await serving()
  await place.gateway.sees('out', /data .*\n/)
  expect(place.gateway.out.split('\n')).toEqual([
    'signalbox 1.2.3 serves gateway.yaml',
    `  http  ${place.url}`,
    `        try: curl ${place.url}/first`,
    expect.stringMatching(/^ {2}data {2}\/.*\/data$/),
    '',
  ])
  expect(await place.ask('/first')).toBe('a rule takes it\n')
})

test('tells the file to the commands to try that would not find it', async () => {
  await using place = await temporaryFolder()
  await writeFile(path.join(place.folder, 'other.yaml'), `admin: { address: 127.0.0.1:0 }\n${first}`)
  await using gateway = new Running(toyMain, ['serve', 'other.yaml'], { folder: place.folder })
  await gateway.sees('out', /admin .*\n +try: npx signalbox stats --watch other\.yaml\n/)
})

describe('a signal', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s closes the gateway and ends it with 0', async (signal) => {
    await using place = await serving()
    place.gateway.kill(signal)
    const { code, error } = await place.gateway.ended()
    expect(code).toBe(0)
    expect(error).toMatch(/"msg":"closed"/)
  })

  test('a second one ends at once', async () => {
    await using place = await serving()
    await place.ask('/hang')
    place.gateway.kill('SIGTERM')
    await place.gateway.sees('error', /a second signal ends at once/)
    place.gateway.kill('SIGTERM')
    const { code, error } = await place.gateway.ended()
    expect(code).toBe(1)
    expect(error).not.toMatch(/"msg":"closed"/)
  })
})

test.each([
  ['/throw', 'thrown where nobody catches'],
  ['/reject', 'rejected where nobody catches'],
  ['/hollow', String.raw`\[Object: null prototype\] \{\}`],
])('an error of a handler that nobody caught ends nothing (%s)', async (where, message) => {
  await using place = await serving()
  await place.ask(where)
  await place.gateway.sees('error', new RegExp(`nobody caught: ${message}`))
  expect(await place.ask('/first')).toBe('a rule takes it\n')
})

test('a reader of its output that has left ends nothing', async () => {
  await using place = await temporaryFolder()
  await writeFile(path.join(place.folder, 'gateway.yaml'), first)
  await using gateway = new Running(toyMain, ['serve'], place)
  gateway.stopReading()
  const [, url = ''] = await gateway.sees('error', /"listening":\["([^"]+)"\]/)
  expect(await (await fetch(`${url}/first`)).text()).toBe('a rule takes it\n')
  expect(gateway.error).not.toMatch(/EPIPE/)
})

describe('SIGHUP', () => {
  test('puts the new routing in, without a new address', async () => {
    await using place = await serving()
    await writeFile(place.file, second)
    place.gateway.kill('SIGHUP')
    await place.gateway.sees('error', /new scopes follow its routing/)
    expect([await place.ask('/first'), await place.ask('/second')]).toEqual(['no rule takes it\n', 'a rule takes it\n'])
  })

  test('changes nothing when the new file has mistakes, and says them', async () => {
    await using place = await serving()
    await writeFile(place.file, yaml('{ path: second, app: ./handlers.ts#site }'))
    place.gateway.kill('SIGHUP')
    await place.gateway.sees('error', /the routing stays as it was/)
    expect(place.gateway.error).toMatch(/"place":"gateway\.yaml:2:\d+"/)
    expect(await place.ask('/first')).toBe('a rule takes it\n')
  })

  test('says which settings have to wait for the next start', async () => {
    await using place = await serving()
    await writeFile(
      place.file,
      yaml(
        '{ path: /second, app: ./handlers.ts#site }',
        'closeTimeout: 9s\ndata: elsewhere\nadmin: {}\nlayer: redis\n',
      ),
    )
    place.gateway.kill('SIGHUP')
    await place.gateway.sees('error', /new scopes follow its routing/)
    expect(place.gateway.error).toMatch(
      /"settings":\["data","layer","admin","closeTimeout"\],"msg":"these settings change with the next start"/,
    )
  })
})

describe('what keeps it from starting', () => {
  test('mistakes in the YAML: 78', async () => {
    await using place = await temporaryFolder()
    await writeFile(path.join(place.folder, 'gateway.yaml'), 'listen: { htp: }\n')
    const { code, out, error } = await run(toyMain, ['serve'], place)
    expect({ code, out }).toEqual({ code: 78, out: '' })
    expect(error).toMatch(/gateway\.yaml:1:11 {2}listen\.htp[^]*did you mean "http"\?[^]*gateway\.yaml: 2 mistakes\n$/)
  })

  test('an address that is taken: 1', async () => {
    await using place = await serving()
    await using other = await temporaryFolder()
    await writeFile(path.join(other.folder, 'gateway.yaml'), first.replace('127.0.0.1:0', new URL(place.url).host))
    const { code, error } = await run(toyMain, ['serve'], other)
    expect(code).toBe(1)
    expect(error).toMatch(/^the gateway does not start: .*127\.0\.0\.1:\d+.*\n$/)
  })
})
