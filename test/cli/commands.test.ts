/** The commands as a person meets them: what they print, where, and how they end. */
import { describe, expect, test } from '@jest/globals'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { realMain, run, toyMain, type Ended } from '../support/child.ts'
import { commandLine } from '../support/command-line.ts'
import { temporaryFolder, withApplication, withTop } from '../support/config-text.ts'

const fixtures = path.join(import.meta.dirname, '..', 'config', 'fixtures')

interface Options {
  readonly folder?: string
  readonly input?: string
  /** Standard input where a person types. */
  readonly terminal?: Readable & { readonly isTTY: boolean }
}

/** In this process; a few tests below start real ones. */
async function signalbox(
  line: string | readonly string[],
  { folder = fixtures, input = '', terminal }: Options = {},
): Promise<Ended> {
  const words = typeof line === 'string' ? line.split(' ').filter((word) => word !== '') : line
  return await commandLine(words, { folder, input: terminal ?? Readable.from([Buffer.from(input)]) })
}

const broken = withApplication(
  'http: { URLRouter: [{ url: (, app: ./handlers.ts#site }, { url: ^, app: ./handlers.ts#sight }] }',
)

describe('help and usage', () => {
  test.each([
    'init',
    'serve',
    'worker',
    'check',
    'routes',
    'explain',
    'send',
    'send mqtt',
    'group',
    'group send',
    'channel',
    'channel send',
    'schema',
    'mqtt-password',
  ])('%s --help has an example', async (command) => {
    const { code, out, error } = await signalbox(`${command} --help`)
    expect({ code, error }).toEqual({ code: 0, error: '' })
    expect(out).toMatch(new RegExp(`Examples?:\\n {2}.*signalbox ${command}`))
  })

  test('the list of commands says what each takes', async () => {
    const { code, out } = await signalbox('--help')
    expect(code).toBe(0)
    expect(out).toMatch(/^ {2}serve \[config\] +run the gateway$/m)
    expect(out).toMatch(/^ {2}explain <protocol> <address> +say which rule/m)
    expect(out).toMatch(/^ {2}journal list\|show\|retry\|discard +look at/m)
    expect(out).toMatch(/^ {2}group send <name> <message> +send a/m)
    expect((await signalbox('help')).out).toBe(out)
  })

  test('without a command the help goes to standard error', async () => {
    const { code, out, error } = await signalbox('')
    expect({ code, out }).toEqual({ code: 64, out: '' })
    expect(error).toContain('Usage: signalbox')
  })

  test.each([
    ['chekc', /unknown command 'chekc'[^]*check/],
    ['check --jsn', /unknown option '--jsn'[^]*--json/],
    ['check a b', /too many arguments/],
    ['explain', /missing required argument 'protocol'\nUsage: signalbox explain \[options\] <protocol> <address>/],
    ['group send chat', /\nUsage: signalbox group send \[options\] <name> <message>/],
    ['send mqtt', /\nUsage: signalbox send mqtt /],
    ['journal list --state ded', /--state: found "ded", expected waiting or dead/],
    [
      'journal list --protocol emial',
      /--protocol: found "emial", expected http, .* or channel; did you mean "email"\?/,
    ],
    ['journal list --rule 14', /--rule: found "14", expected file:line such as gateway.yaml:14/],
    ['explain fax 1', /'fax' is invalid[^]*http, websocket, mqtt, email, sms, channel/],
    ['send mqtt', /missing required argument 'to'/],
    ['send mqtt a --timeout 5', /--timeout: found "5", expected a duration/],
    ['send mqtt a --timeout 25d', /--timeout: expected at most 24d/],
    ['worker', /missing required argument 'name'/],
    ['worker gateway.yaml', /expected the name of a channel/],
    ['worker a b.yaml --config c.yaml', /found b\.yaml and --config, expected one of them/],
    ['worker a --concurrency many', /--concurrency: found "many", expected a number from 1 to 1000/],
    ['group', /send a message to a group|Usage: signalbox group/],
    ['group send chat', /missing required argument 'message'/],
    ['group send a!b {"type":"a.b"}', /a group name has 1 to 100 characters[^]*found "a!b"/],
    ['group send chat {"type":"ab"}', /expected a message such as [^]*: it has no type with a dot in it/],
    ['channel send work {', /expected a message such as [^]*JSON/],
    ['channel send work {"type":"a.b"} --timeout 5', /--timeout: found "5", expected a duration/],
  ])('%s', async (line, expected) => {
    const { code, error } = await signalbox(line)
    expect(error).toMatch(expected)
    expect(code).toBe(64)
  })

  test('--version', async () => {
    expect(await signalbox('--version')).toEqual({ code: 0, out: '1.2.3\n', error: '' })
  })
})

describe('check', () => {
  test('says that there are no mistakes', async () => {
    expect(await signalbox('check')).toEqual({ code: 0, out: 'gateway.yaml: no mistakes\n', error: '' })
  })

  test('finds the file in the config folder too', async () => {
    await using place = await temporaryFolder()
    await mkdir(path.join(place.folder, 'config'))
    for (const file of ['gateway.yaml', 'handlers.ts']) {
      await rename(path.join(place.folder, file), path.join(place.folder, 'config', file))
    }
    expect(await signalbox('check', place)).toMatchObject({ code: 0, out: 'config/gateway.yaml: no mistakes\n' })
  })

  test('lists every mistake with its place, its line and a caret, and ends with 78', async () => {
    await using place = await temporaryFolder()
    await writeFile(path.join(place.folder, 'broken.yaml'), broken)
    const { code, out, error } = await signalbox('check broken.yaml', place)
    expect({ code, error }).toEqual({ code: 78, error: '' })
    const lines = out.split('\n')
    expect(lines).toHaveLength(8)
    expect(lines[0]).toMatch(
      /^broken\.yaml:9:32 {2}application\.ProtocolTypeRouter\.http\.URLRouter\[0\]\.url {2}found "\("/,
    )
    expect(lines[1]).toBe(
      '  9 |     http: { URLRouter: [{ url: (, app: ./handlers.ts#site }, { url: ^, app: ./handlers.ts#sight }] }',
    )
    expect(lines[2]).toBe(`    | ${' '.repeat(31)}^`)
    expect(lines[3]).toMatch(/^broken\.yaml:9:77 /)
    expect(lines[6]).toBe('broken.yaml: 2 mistakes')
  })

  test('--json gives the same to programs', async () => {
    await using place = await temporaryFolder()
    await writeFile(path.join(place.folder, 'broken.yaml'), broken)
    const { code, out } = await signalbox('check broken.yaml --json', place)
    expect(code).toBe(78)
    expect(JSON.parse(out)).toMatchObject({
      file: 'broken.yaml',
      ok: false,
      diagnostics: [
        { severity: 'error', line: 9, column: 32, path: 'application.ProtocolTypeRouter.http.URLRouter[0].url' },
        { severity: 'error', line: 9, column: 77 },
      ],
    })
  })

  test('a warning is no mistake', async () => {
    await using place = await temporaryFolder()
    await writeFile(
      path.join(place.folder, 'gateway.yaml'),
      withApplication("email: { EmailToRouter: [{ regex: '@a.b', app: ./handlers.ts#site }] }"),
    )
    const { code, out } = await signalbox('check', place)
    expect(code).toBe(0)
    expect(out).toMatch(/warning: the expression is not anchored/)
    expect(out).toMatch(/gateway\.yaml: 1 warning\n$/)
  })

  test('a file that is not there', async () => {
    const hint = "found no such file, expected the gateway's YAML: `npx signalbox init` writes a first one"
    const expected = `nowhere.yaml:1:1  ${hint}\nnowhere.yaml: 1 mistake\n`
    expect(await signalbox('check nowhere.yaml')).toEqual({ code: 78, out: expected, error: '' })
  })

  test('a folder in its place', async () => {
    const { code, out } = await signalbox('check .')
    expect(code).toBe(78)
    expect(out).toContain(".:1:1  found a folder, expected the gateway's YAML\n")
  })
})

test('routes shows the tree with the line of each rule', async () => {
  const { code, out, error } = await signalbox('routes')
  expect({ code, error }).toEqual({ code: 0, error: '' })
  expect(out.split('\n').map((line) => line.replace(/ {2,}/g, '  '))).toEqual([
    'application -> ProtocolTypeRouter  gateway.yaml:8',
    '├─ http -> accessLog  gateway.yaml:9',
    '│  └─ app -> URLRouter  gateway.yaml:12',
    '│  ├─ path /chat/:room -> ./handlers.ts#chat  gateway.yaml:13',
    '│  ├─ url ^api/ -> URLRouter  gateway.yaml:14',
    '│  │  └─ path /rooms -> ./handlers.ts#chat  gateway.yaml:14',
    '│  └─ url ^ -> ./handlers.ts#site  gateway.yaml:15',
    '├─ websocket -> ./handlers.ts#greeting  gateway.yaml:16',
    '│  └─ app -> ./handlers.ts#ChatConsumer  gateway.yaml:19',
    '├─ mqtt -> TopicRouter  gateway.yaml:20',
    '│  └─ topic sensors/+room/temperature -> ./handlers.ts#site  gateway.yaml:22',
    '├─ email -> EmailToRouter  gateway.yaml:23',
    '│  └─ domain support.org -> ./handlers.ts#site  gateway.yaml:23',
    '└─ sms -> ./handlers.ts#lastLetterRouter  gateway.yaml:24',
    '  ├─ {"letter":"a"} -> ./handlers.ts#site  gateway.yaml:26',
    '  └─ {"letter":"b"} -> ./handlers.ts#chat  gateway.yaml:27',
    '',
  ])
})

describe('explain', () => {
  test('says which rule takes an address and why each earlier one did not', async () => {
    const { code, out } = await signalbox('explain http /api/nothing')
    expect(code).toBe(0)
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => line.trim().replace(/ {2,}/g, '  ')),
    ).toEqual([
      'gateway.yaml:13  URLRouter path /chat/:room  no  "api/nothing" does not match',
      'gateway.yaml:14  URLRouter url ^api/  yes  matches',
      'gateway.yaml:14  URLRouter path /rooms  no  "nothing" does not match',
      'gateway.yaml:14  URLRouter url ^api/  no  the router below it has no rule for what is left: going on',
      'gateway.yaml:15  URLRouter url ^  yes  matches',
      'gateway.yaml:15  ./handlers.ts#site',
    ])
  })

  test.each([
    ['http /chat/kitchen', 'gateway.yaml:13  ./handlers.ts#chat  room="kitchen"'],
    ['websocket /any', 'gateway.yaml:17  ./handlers.ts#greeting > ./handlers.ts#ChatConsumer'],
    ['mqtt sensors/a/temperature', 'gateway.yaml:22  ./handlers.ts#site'],
    ['email bob@support.org', 'gateway.yaml:23  ./handlers.ts#site'],
    ['sms +14155550100', 'gateway.yaml:25  ./handlers.ts#lastLetterRouter'],
  ])('%s', async (question, expected) => {
    const { code, out } = await signalbox(`explain ${question}`)
    expect({ code, last: out.trimEnd().split('\n').at(-1) }).toEqual({ code: 0, last: expected })
  })

  test('a channel has its rule too, and it says who serves it', async () => {
    await using place = await temporaryFolder()
    const rules = 'channel: { ChannelNameRouter: [{ channel: work, app: ./handlers.ts#site }] }'
    await writeFile(path.join(place.folder, 'gateway.yaml'), withApplication(rules))
    const served = await signalbox('explain channel work', place)
    expect(served).toEqual({
      code: 0,
      out: expect.stringMatching(/yes  matches\ngateway\.yaml:9  \.\/handlers\.ts#site\n$/),
      error: '',
    })
    await writeFile(path.join(place.folder, 'gateway.yaml'), `workers: []\n${withApplication(rules)}`)
    const left = await signalbox('explain channel work', place)
    expect(left.error).toBe(
      'the gateway does not serve work: it is not under workers, but left to `npx signalbox worker work`\n',
    )
    expect(await signalbox('explain channel wrok', place)).toMatchObject({
      code: 1,
      out: expect.stringMatching(/"wrok" does not match\nno rule takes channel wrok\n$/),
    })
    expect(await signalbox('explain channel a!b', place)).toMatchObject({ code: 64 })
  })

  test('an address that no rule takes ends with 1', async () => {
    const { code, out } = await signalbox('explain mqtt elsewhere')
    expect(code).toBe(1)
    expect(out).toMatch(/no rule takes mqtt elsewhere\n$/)
  })

  test('an address that is none ends with 64', async () => {
    const { code, error } = await signalbox(['explain', 'email', 'a b'])
    expect({ code, error }).toEqual({ code: 64, error: 'found "a b", expected an address without spaces\n' })
  })

  test('a file with mistakes ends with 78, and they are on standard error', async () => {
    const { code, out, error } = await signalbox('explain http / --config nowhere.yaml')
    expect({ code, out }).toEqual({ code: 78, out: '' })
    expect(error).toContain('found no such file')
  })
})

describe('send', () => {
  test('hands arguments, options and what the YAML says to the client', async () => {
    const { code, out } = await signalbox('send mqtt sensors/a hello --qos 1 --retain')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      given: ['sensors/a', 'hello'],
      flags: { qos: '1', retain: 'true' },
      options: { address: { host: '127.0.0.1', port: 1883 } },
      http: { address: { host: '127.0.0.1', port: 0 } },
    })
  })

  test('ends with 1 when the answer is no', async () => {
    expect(await signalbox('send email refuse-me')).toMatchObject({ code: 1 })
  })

  test('needs something that listens', async () => {
    await using place = await temporaryFolder()
    await writeFile(path.join(place.folder, 'gateway.yaml'), 'listen: { http: }\napplication: ./handlers.ts#site\n')
    const { code, error } = await signalbox('send mqtt a', place)
    expect({ code, error }).toEqual({
      code: 78,
      error: 'gateway.yaml: nothing listens for mqtt, expected it under listen\n',
    })
  })

  test.each([
    ['http', 'http: { address: 127.0.0.1:0 }'],
    ['email', 'http: { address: 127.0.0.1:8000 }, email: { address: 127.0.0.1:0 }'],
    ['websocket', 'http: { address: 127.0.0.1:0 }, websocket: {}'],
  ])('says that it cannot know which free port a gateway took for %s', async (name, listen) => {
    await using place = await temporaryFolder()
    await writeFile(path.join(place.folder, 'gateway.yaml'), withTop(`listen: { ${listen} }`))
    const sent = await signalbox(['send', name, 'GET', '/x'], { folder: place.folder })
    const where = name === 'email' ? 'listen.email' : 'listen.http'
    expect(sent).toEqual({
      code: 78,
      out: '',
      error: `gateway.yaml: ${where} takes any free port (127.0.0.1:0), and which one cannot be known here, expected a port of its own\n`,
    })
  })
})

test('mqtt-password hashes the line on standard input', async () => {
  expect(await signalbox('mqtt-password', { input: 'hunter2\nmore' })).toEqual({
    code: 0,
    out: 'hash-of-7\n',
    error: '',
  })
  expect(await signalbox('mqtt-password', { input: '\n' })).toMatchObject({ code: 64, out: '' })
})

test('mqtt-password reads what is typed, with its corrections, and has the terminal not show it', async () => {
  const modes: boolean[] = []
  const typed = (keys: string) =>
    Object.assign(Readable.from([Buffer.from(keys)]), { isTTY: true, setRawMode: (raw: boolean) => modes.push(raw) })
  const asked = 'the password, and return (it is not shown):\n'
  const hashed = await signalbox('mqtt-password', { terminal: typed('hunterr\x7f2\r') })
  expect(hashed).toEqual({ code: 0, out: 'hash-of-7\n', error: asked })
  expect(modes).toEqual([true, false])
  // Ctrl+C
  expect(await signalbox('mqtt-password', { terminal: typed('hun\x03') })).toMatchObject({ code: 64, out: '' })
})

describe('as a process', () => {
  test.each([
    ['check', 0],
    ['chekc', 64],
    ['check nowhere.yaml', 78],
    ['send email refuse-me', 1],
  ])('%s ends with %i', async (line, code) => {
    expect(await run(toyMain, line.split(' '), { folder: fixtures })).toMatchObject({ code })
  })

  test('what is longer than a pipe takes at once is whole', async () => {
    const { code, out } = await run(realMain, ['schema'])
    expect(code).toBe(0)
    expect(out.length).toBeGreaterThan(64 * 1024)
    expect(JSON.parse(out)).toMatchObject({ title: 'A signalbox gateway' })
  })

  test('standard input is read to the end of the line', async () => {
    const child = await run(toyMain, ['mqtt-password'], { input: 'hunter2\n' })
    expect(child).toEqual({ code: 0, out: 'hash-of-7\n', error: '' })
  })

  test('a package is found as an import from the folder of the file would find it', async () => {
    await using place = await temporaryFolder()
    const folder = path.join(place.folder, 'node_modules', 'esm-only')
    await mkdir(folder, { recursive: true })
    const manifest = { name: 'esm-only', type: 'module', exports: { '.': { import: './main.js' } } }
    await writeFile(path.join(folder, 'package.json'), JSON.stringify(manifest))
    await writeFile(path.join(folder, 'main.js'), 'export async function site() {}\n')
    await writeFile(path.join(place.folder, 'gateway.yaml'), 'listen: { http: }\napplication: esm-only#site\n')
    expect(await run(toyMain, ['check'], place)).toEqual({ code: 0, out: 'gateway.yaml: no mistakes\n', error: '' })
    await writeFile(path.join(place.folder, 'gateway.yaml'), 'listen: { http: }\napplication: esm-olny#site\n')
    const { out } = await run(toyMain, ['check'], place)
    expect(out).toMatch(
      /found the package esm-olny, which is not installed, expected an installed package or \.\/file\.ts/,
    )
  })
})
