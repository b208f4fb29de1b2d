/** The real protocols behind the YAML: the schema that is checked in, the sample, and the mistakes a newcomer makes. */
import { describe, expect, test } from '@jest/globals'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { hashPassword } from '../../protocols/mqtt/password.ts'
import { protocols } from '../../protocols/registry.ts'
import { jsonSchema } from '../../src/config/json-schema.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Registry } from '../../src/config/registry.ts'
import { builtinMiddleware } from '../../src/middleware/registry.ts'
import { channelNameRouterDefinition } from '../../src/routing/channel-name-router.ts'
import { realMain, run } from '../support/child.ts'
import { shortly, temporaryFolder } from '../support/config-text.ts'

const root = path.join(import.meta.dirname, '..', '..')
const registry: Registry = {
  definitions: Object.values(protocols),
  routers: [channelNameRouterDefinition],
  middleware: builtinMiddleware,
}
const readSample = () => readFile(path.join(root, 'config', 'gateway.yaml'), 'utf8')

/** The sample with every setting that stands there as a comment. */
const uncommented = (sample: string): string => sample.replace(/^( *)# ( *(?:\w+:(?: |$)|- \{).*)$/gm, '$1$2')
const withToyHandlers = (sample: string): string =>
  sample
    .replace(/\.\/handlers\/[^\s},:]+(?=:)/, './handlers.ts#greeting')
    .replace(/\.\/handlers\/[^\s}]+/g, './handlers.ts#site')

async function mistakes(text: string, environment: Record<string, string> = {}): Promise<readonly string[]> {
  await using place = await temporaryFolder()
  await writeFile(path.join(place.folder, 'gateway.yaml'), text)
  const { diagnostics } = await loadConfig('gateway.yaml', { ...registry, environment, folder: place.folder })
  return diagnostics.map(shortly)
}

describe('config/gateway.schema.json', () => {
  test('is what the definitions say now: `signalbox schema > config/gateway.schema.json` makes it anew', async () => {
    const file = await readFile(path.join(root, 'config', 'gateway.schema.json'), 'utf8')
    expect(JSON.parse(file)).toEqual(JSON.parse(JSON.stringify(jsonSchema(registry))))
  })

  test('takes the sample, also with every setting that is commented out', async () => {
    const checker = z.fromJSONSchema(jsonSchema(registry))
    expect(checker.safeParse(parse(await readSample())).error).toBeUndefined()
    expect(checker.safeParse(parse(uncommented(await readSample()))).error).toBeUndefined()
  })

  test('describes every setting', () => {
    const undescribed: string[] = []
    const visit = (schema: unknown, where: string): void => {
      if (typeof schema !== 'object' || schema === null) return
      const { properties } = schema as { properties?: Record<string, { description?: string }> }
      for (const [key, value] of Object.entries(properties ?? {})) {
        const deep = JSON.stringify(value).includes('"description"')
        if (!deep) undescribed.push(`${where}.${key}`)
      }
    }
    const { listen } = jsonSchema(registry)['properties'] as { listen: { properties: Record<string, unknown> } }
    for (const [name, schema] of Object.entries(listen.properties)) visit(schema, name)
    expect(undescribed).toEqual([])
  })
})

test('the sample has no mistakes and no warnings', async () => {
  expect(await run(realMain, ['check'])).toEqual({ code: 0, out: 'config/gateway.yaml: no mistakes\n', error: '' })
})

test('every setting that the sample shows as a comment is one, with a value that is taken', async () => {
  const hash = await hashPassword('hunter2')
  const text = withToyHandlers(uncommented(await readSample())).replace('password: "…"', `password: "${hash}"`)
  expect(text.split('\n').filter((line) => /^ *# *\w+:( |$)/.test(line))).toEqual([])
  // Only the certificates are not there.
  const found = await mistakes(text)
  expect(found.filter((line) => !line.includes('.pem", which cannot be read'))).toEqual([])
})

describe('off loopback, what is unsafe is refused where it stands', () => {
  test('anonymous MQTT, the development token and a plain public URL', async () => {
    const sample = withToyHandlers(await readSample())
    const lines = sample.split('\n')
    const at = (text: string) => `${lines.findIndex((line) => line.trimStart().startsWith(text)) + 1}:`
    const everywhere = {
      SIGNALBOX_HTTP: '0.0.0.0:8000',
      SIGNALBOX_MQTT: '0.0.0.0:1883',
      SIGNALBOX_SMTP: '0.0.0.0:2525',
    }
    const found = (await mistakes(sample, everywhere)).filter((line) => line.includes(' listen.'))
    expect(found.map((line) => line.replace(/^(\d+:)\d+ (\S+) .*$/, '$1 $2'))).toEqual([
      `${at('anonymous:')} listen.mqtt.anonymous`,
      `${at('authToken:')} listen.sms.provider.twilio.authToken`,
      `${at('publicUrl:')} listen.sms.provider.twilio.publicUrl`,
    ])
    expect(found.join('\n')).not.toContain('0.0.0.0')
  })
})

test.each([
  ['address: help@support.org', '"@support.org"', true],
  ['address: help@support.org', '"support.org"', true],
  ['address: help@support.org', "'@[a-z]+\\.org$'", true],
  ['address: help+a@support.org', '"@support.org"', true],
  ['domain: support.org', '"@support.org"', true],
  ["regex: '^help@support\\.org$'", '"@support.org"', true],
  // Those below a domain are others than those of the domain, and each of these takes some addresses only.
  ['domain: "*.support.org"', '"@support.org"', false],
  ['address: help@support.org', '"^help@support.org"', false],
  ['address: help@support.org', "'\\bhelp@support.org'", false],
  ['address: help@support.org', '"(?<!x)@support.org"', false],
  ['address: help@support.org', '"help.*@support.org"', false],
  ['regex: "help"', '"@support.org"', false],
])('%s behind the expression %s can never match: %s', async (rule, expression, never) => {
  const text = [
    'listen: { email: { address: "127.0.0.1:0" } }',
    'application:',
    '  ProtocolTypeRouter:',
    '    email:',
    '      EmailToRouter:',
    `        - { regex: ${expression}, app: ./handlers.ts#site }`,
    `        - { ${rule}, app: ./handlers.ts#site }`,
    '',
  ].join('\n')
  const found = await mistakes(text)
  expect(found.filter((line) => line.startsWith('7:') && line.includes('can never match')).length).toBe(never ? 1 : 0)
})

test('a time limit that no timer can wait for is refused: Node would take it for none at all', async () => {
  const text = [
    'closeTimeout: 25d',
    'drainTimeout: 25d',
    'sync: { timeout: 25d, grace: 25d }',
    'listen:',
    '  http: { address: "127.0.0.1:0", handlerTimeout: 25d }',
    '  websocket: { handshakeTimeout: 25d, heartbeat: 25d, idleTimeout: 25d }',
    '  mqtt: { address: "127.0.0.1:0", connectTimeout: 25d, handlerTimeout: 25d, disconnectTimeout: 25d, drainTimeout: 25d }',
    '  email: { address: "127.0.0.1:0", commandTimeout: 25d, dataTimeout: 25d, handlerTimeout: 25d }',
    '  sms: { bodyTimeout: 25d, provider: { twilio: { authToken: a, publicUrl: "http://127.0.0.1:8000" } } }',
    'application:',
    '  timeout: { after: 25d, app: ./handlers.ts#site }',
    '',
  ].join('\n')
  const found = (await mistakes(text)).filter((line) => line.includes('expected at most 24d'))
  expect(found.map((line) => line.split(' ', 2)[1])).toEqual([
    'closeTimeout',
    'drainTimeout',
    'sync.timeout',
    'sync.grace',
    'listen.websocket.handshakeTimeout',
    'listen.websocket.heartbeat',
    'listen.websocket.idleTimeout',
    'listen.mqtt.connectTimeout',
    'listen.mqtt.handlerTimeout',
    'listen.mqtt.disconnectTimeout',
    'listen.mqtt.drainTimeout',
    'listen.email.commandTimeout',
    'listen.email.dataTimeout',
    'listen.email.handlerTimeout',
    'listen.sms.bodyTimeout',
    'application.timeout.after',
  ])
  expect(await mistakes(text.replaceAll('25d', '24d'))).not.toContainEqual(expect.stringContaining('24d'))
})

test('ten different mistakes in a real file are ten places', async () => {
  const text = [
    'listen:',
    '  http: { adress: "127.0.0.1:8000" }',
    '  mqtt: { address: "127.0.0.1:1883", maxPacketSize: 256, anonymous: maybe }',
    '  email: { maxSize: 25 megabytes }',
    '  sms: { provider: { twilio: { authToken: "${NO_SUCH_TOKEN}", publicUrl: "http://127.0.0.1:8000" } } }',
    'layer: memory',
    'layer: memory',
    'application:',
    '  ProtocolTypeRouter:',
    '    http:',
    '      URLRuter: []',
    '    websocket:',
    '      URLRouter:',
    '        - { url: "^chat/(", app: ./handlers.ts#chat }',
    '        - { path: "/chat/:room", app: ./handlers.ts#chatt }',
    '    mqtt:',
    '      TopicRouter:',
    '        - { topic: "sensors/#", app: ./handlers.ts#site }',
    '        - { topic: "sensors/kitchen", app: ./handlers.ts#site }',
    '        - { topic: "a/#/b", app: ./handlers.ts#site }',
    '    email:',
    '      EmailToRouter: [{ domain: support.org, app: ./tickets.ts#Tickets }]',
    '    sms:',
    '      SMSFromRouter: [{ phone: +1, app: ./throws.ts#before }]',
    '',
  ].join('\n')
  const found = await mistakes(text)
  expect(found.map((line) => line.split(' ', 2).join(' '))).toEqual([
    '2:11 listen.http.adress',
    '3:53 listen.mqtt.maxPacketSize',
    '3:69 listen.mqtt.anonymous',
    '4:21 listen.email.maxSize',
    '5:44 listen.sms.provider.twilio.authToken',
    '7:1 layer',
    '11:7 application.ProtocolTypeRouter.http.URLRuter',
    '14:18 application.ProtocolTypeRouter.websocket.URLRouter[0].url',
    '15:39 application.ProtocolTypeRouter.websocket.URLRouter[1].app',
    '19:11 application.ProtocolTypeRouter.mqtt.TopicRouter[1]',
    '20:20 application.ProtocolTypeRouter.mqtt.TopicRouter[2].topic',
    '22:51 application.ProtocolTypeRouter.email.EmailToRouter[0].app',
    '24:32 application.ProtocolTypeRouter.sms.SMSFromRouter[0].phone',
    '24:41 application.ProtocolTypeRouter.sms.SMSFromRouter[0].app',
  ])
  for (const line of found) expect(line).toMatch(/\bexpected\b/)
})
