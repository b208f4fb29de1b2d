/** What `serve` tells to try is taken by a rule of the YAML. */
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import { tryLine } from '../../src/cli/try-line.ts'
import { loadConfig } from '../../src/config/load.ts'
import { protocols } from '../../protocols/registry.ts'
import { temporaryFolder } from '../support/config-text.ts'

const definitions: readonly ProtocolDefinition[] = Object.values(protocols)
const listen =
  'http: {}, websocket: {}, mqtt: {}, email: {}, sms: { provider: { twilio: { authToken: development, publicUrl: "http://127.0.0.1:8000" } } }'

async function triedFor(protocol: string, app: string, usual: string): Promise<string | undefined> {
  await using place = await temporaryFolder()
  const file = path.join(place.folder, 'gateway.yaml')
  await writeFile(path.join(place.folder, 'a.js'), 'export const a = async () => {}\n')
  await writeFile(file, `listen: { ${listen} }\napplication: { ProtocolTypeRouter: { ${protocol}: ${app} } }\n`)
  const { config, plan, diagnostics } = await loadConfig(file, {
    definitions,
    routers: [],
    middleware: [],
    environment: {},
  })
  const definition = definitions.find(({ name }) => name === protocol)
  if (!config || !definition) throw new Error(JSON.stringify(diagnostics))
  return tryLine({ definition, plan, config, file: '', example: { address: usual, command: (address) => address } })
}

test.each([
  ['http', './a.js#a', '/', '/'],
  ['http', 'URLRouter: [{ url: "^", app: ./a.js#a }]', '/', '/'],
  ['http', 'URLRouter: [{ path: "/tickets/:id<int>/:name", app: ./a.js#a }]', '/', '/tickets/1/name'],
  ['http', 'URLRouter: [{ path: "/api/*", app: ./a.js#a }]', '/', '/api/x'],
  ['http', 'URLRouter: [{ url: "^hello/(?<name>[^/]+)$", app: ./a.js#a }]', '/', '/hello/x'],
  ['http', 'URLRouter: [{ url: "[0-9]{9}$", app: ./a.js#a }]', '/', undefined],
  ['websocket', 'URLRouter: [{ url: "^news/$", app: ./a.js#a }]', '/chat/', '/news/'],
  ['mqtt', 'TopicRouter: [{ topic: "home/+room/light", app: ./a.js#a }]', 'sensors/x', 'home/room/light'],
  ['mqtt', 'TopicRouter: [{ topic: "#", app: ./a.js#a }]', 'sensors/x', 'sensors/x'],
  ['email', 'EmailToRouter: [{ domain: "*.example.org", app: ./a.js#a }]', 'help@support.org', 'help@x.example.org'],
  [
    'email',
    String.raw`EmailToRouter: [{ regex: '@example\.org$', app: ./a.js#a }]`,
    'help@support.org',
    'help@example.org',
  ],
  ['email', 'EmailToRouter: [{ address: bob@example.org, app: ./a.js#a }]', 'help@support.org', 'bob@example.org'],
  ['sms', 'SMSFromRouter: [{ phone: "+49", app: ./a.js#a }]', '+14155550100', '+495550100000'],
  ['sms', 'SMSFromRouter: [{ phone: "+1", app: ./a.js#a }]', '+14155550100', '+14155550100'],
])('%s: %s is tried with %s, or else', async (protocol, app, usual, expected) => {
  const inner = app.includes(': [') ? `{ ${app} }` : app
  expect(await triedFor(protocol, inner, usual)).toBe(expected)
})
