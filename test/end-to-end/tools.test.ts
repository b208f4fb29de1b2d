/** The commands of the README, word for word, against the sample gateway: with programs that others wrote. */
import { afterAll, beforeAll, expect } from '@jest/globals'
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { Running, realMain } from '../support/child.ts'
import { requires } from '../support/requirements.ts'

const root = path.join(import.meta.dirname, '../..')
const readme = readFileSync(path.join(root, 'README.md'), 'utf8')
const { describe, test } = requires('mosquitto_pub', 'mosquitto_sub', 'swaks', 'curl', 'openssl')
const execute = promisify(execFile)

describe('the README is true', () => {
  const data = mkdtempSync(path.join(tmpdir(), 'signalbox-tools-'))
  let gateway: Running
  let urls: Readonly<Record<string, URL>>

  beforeAll(async () => {
    await serve()
  })

  afterAll(async () => {
    await gateway[Symbol.asyncDispose]()
    rmSync(data, { recursive: true, force: true })
  })

  async function serve(): Promise<void> {
    const environment = {
      SIGNALBOX_HTTP: '127.0.0.1:0',
      SIGNALBOX_MQTT: '127.0.0.1:0',
      SIGNALBOX_SMTP: '127.0.0.1:0',
      SIGNALBOX_ADMIN: '127.0.0.1:0',
      SIGNALBOX_DATA: data,
    }
    gateway = new Running(realMain, ['serve', 'config/gateway.yaml'], { environment })
    await gateway.sees('out', /^ {2}data .*$/m)
    const lines = gateway.out.matchAll(/^ {2}(\w+) +(\w+:\/\/\S+)/gm)
    urls = Object.fromEntries(Array.from(lines, ([, name = '', url = '']) => [name, new URL(url)]))
  }

  /** Runs a command that stands in the README, at this gateway's ports instead of the usual ones. */
  async function run(command: string): Promise<string> {
    if (!readme.includes(command)) throw new Error(`the README does not say: ${command}`)
    const at = (name: string) => urls[name]?.host ?? ''
    const here = command
      .replace(/^npx signalbox /, `"${process.execPath}" bin/signalbox.js `)
      .replace(/^(mosquitto_[ps]ub) /, `$1 -p ${urls['mqtt']?.port} `)
      .replace(/--server 127\.0\.0\.1:2525\b/, `--server ${at('email')}`)
      // Not the address that is signed: that is the public one, which a proxy would stand behind.
      .replace(/^(curl (?:-\S+ )*)http:\/\/127\.0\.0\.1:8000\//m, `$1http://${at('http')}/`)
    const environment = {
      ...process.env,
      SIGNALBOX_HTTP: at('http'),
      SIGNALBOX_MQTT: at('mqtt'),
      SIGNALBOX_SMTP: at('email'),
      SIGNALBOX_ADMIN: at('admin'),
    }
    const { stdout } = await execute('bash', ['-euo', 'pipefail', '-c', here], { cwd: root, env: environment })
    return stdout
  }

  test('HTTP: curl asks for the address of a host', async () => {
    expect((await run('curl http://127.0.0.1:8000/gethostbyname/localhost')).trim()).toBe('127.0.0.1')
  })

  test('MQTT: mosquitto_pub brings a reading, curl shows it', async () => {
    await run('mosquitto_pub -t sensors/kitchen/temperature -m 21.5')
    // It leaves as soon as it has sent: nobody tells it when the reading is stored.
    const shown = await until(
      () => run('curl http://127.0.0.1:8000/temperature/kitchen'),
      (text) => text.includes('21.5'),
    )
    expect(JSON.parse(shown)).toMatchObject({ room: 'kitchen', celsius: 21.5, history: [{ celsius: 21.5 }] })
  })

  test('MQTT: mosquitto_sub hears the alarm that a hot room raises', async () => {
    expect(readme).toContain("mosquitto_sub -t 'sensors/+/alarm'")
    const port = urls['mqtt']?.port ?? ''
    const child = spawn('stdbuf', ['-oL', 'mosquitto_sub', '-p', port, '-t', 'sensors/+/alarm', '-C', '1', '-d'], {
      stdio: 'pipe',
    })
    try {
      await text(child.stdout, /received SUBACK/)
      const alarm = text(child.stdout, /^\{.*\}$/m)
      await run('mosquitto_pub -t sensors/kitchen/temperature -m 31.5')
      expect(JSON.parse(await alarm)).toMatchObject({ room: 'kitchen', celsius: 31.5, threshold: 30 })
    } finally {
      child.kill()
    }
  })

  test('e-mail: swaks opens a ticket, curl shows it', async () => {
    const dialogue = await run(
      "swaks --server 127.0.0.1:2525 --to help@support.org --header 'Subject: The printer is on fire'",
    )
    expect(dialogue).toMatch(/^<- {2}250 2\.6\.0/m)
    // The 250 says that the mail is stored; the ticket is there a moment later.
    let shown: readonly unknown[] = []
    while (shown.length === 0) {
      shown = JSON.parse(await run('curl http://127.0.0.1:8000/tickets/')) as readonly unknown[]
    }
    expect(shown).toMatchObject([{ id: 1, subject: 'The printer is on fire' }])
  })

  test('e-mail: swaks is told at once that nobody else gets mail here', async () => {
    const refused = execute('swaks', ['--server', urls['email']?.host ?? '', '--to', 'bob@example.org'])
    await expect(refused).rejects.toMatchObject({ stdout: expect.stringMatching(/550 5\.1\.1/) })
  })

  test('SMS: a curl that signs as Twilio does is answered with the reading', async () => {
    const block = /^signed='[\s\S]*?TEMP kitchen'$/m.exec(readme)?.[0] ?? ''
    expect(await run(block)).toMatch(/<Response><Message>kitchen: 31\.5 C, .*<\/Message><\/Response>/)
  })

  test('SMS: a curl that does not sign is refused', async () => {
    const { stdout } = await execute('curl', [
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      '-d',
      'Body=hello',
      `http://${urls['http']?.host}/sms`,
    ])
    expect(stdout).toBe('403')
  })

  test('`signalbox send` plays each client', async () => {
    expect(await run('npx signalbox send sms +14155550100 "TEMP kitchen"')).toContain('kitchen: 31.5 C')
    expect(await run('npx signalbox send websocket /chat/ hello')).toContain('[Welcome Anonymous!]')
    expect(await run('npx signalbox send mqtt sensors/attic/temperature 18')).not.toBe('')
    expect(await run('npx signalbox send http GET /temperature/attic')).toContain('"celsius":18')
    expect(await run('npx signalbox send email help@support.org "My screen is dark"')).toContain('250')
  })

  test('`check`, `routes` and `explain` say what the gateway does', async () => {
    expect(await run('npx signalbox check')).not.toContain('error')
    expect(await run('npx signalbox routes')).toContain('ChatConsumer')
    expect(await run('npx signalbox explain sms +14155550100')).toContain('USTextHandler')
  })

  test('what came in is there again after a restart', async () => {
    gateway.kill('SIGTERM')
    expect((await gateway.ended()).code).toBe(0)
    await serve()
    const reading: unknown = JSON.parse(await run('curl http://127.0.0.1:8000/temperature/kitchen'))
    expect(reading).toMatchObject({ room: 'kitchen', celsius: 31.5 })
    const tickets = JSON.parse(await run('curl http://127.0.0.1:8000/tickets/')) as readonly unknown[]
    expect(tickets.length).toBeGreaterThan(0)
  })
})

/** Resolves with the match when the program has printed it. */
async function text(stream: Readable, pattern: RegExp): Promise<string> {
  let seen = ''
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const read = (chunk: Buffer) => {
    seen += chunk.toString()
    const found = pattern.exec(seen)
    if (found) resolve(found[0])
  }
  const ended = () => reject(new Error(`it ended without ${pattern}:\n${seen}`))
  stream.on('data', read).on('end', ended)
  try {
    return await promise
  } finally {
    stream.off('data', read).off('end', ended)
  }
}

/** Asks again until the answer is right; the test's own time-out ends it. */
async function until(ask: () => Promise<string>, isRight: (answer: string) => boolean): Promise<string> {
  for (;;) {
    const answer = await ask()
    if (isRight(answer)) return answer
  }
}
