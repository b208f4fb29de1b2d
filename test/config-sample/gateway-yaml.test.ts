/** The sample's YAML: without a mistake, with every setting, and each address where it belongs. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { protocols } from '../../protocols/registry.ts'
import { layerSchema } from '../../src/config/layer.ts'
import { loadConfig, type LoadResult } from '../../src/config/load.ts'
import { redisSchema } from '../../src/config/redis-layer.ts'
import { settingsSchema } from '../../src/config/settings.ts'
import { builtinMiddleware } from '../../src/middleware/registry.ts'
import { channelNameRouterDefinition } from '../../src/routing/channel-name-router.ts'
import { closeStore } from '../../config/handlers/store.ts'

const file = path.join(import.meta.dirname, '..', '..', 'config', 'gateway.yaml')
const text = readFileSync(file, 'utf8').replaceAll(/\$\{\w+:-([^}]*)\}/g, '$1')
const definitions = Object.values(protocols)
const data = path.join(import.meta.dirname, 'no-such-data')

let loaded: LoadResult
beforeAll(async () => {
  const environment = { SIGNALBOX_DATA: data }
  loaded = await loadConfig(file, {
    definitions,
    routers: [channelNameRouterDefinition],
    middleware: builtinMiddleware,
    environment,
    folder: process.cwd(),
  })
})
afterAll(() => closeStore(data))

test('has no mistake and nothing to warn of', () => {
  expect(loaded.diagnostics).toEqual([])
  expect(loaded.config).toBeDefined()
})

describe('every setting stands there', () => {
  /** The file with its commented settings switched on, but for those that are off. */
  const switchedOn = text
    .split('\n')
    .filter((line) => !/ # off\b|# {3}- /.test(line))
    .map((line) => line.replace(/^( *)# ( *\w+:(?: |$))/, '$1$2'))
    .join('\n')
  type Listen = Readonly<Record<string, unknown>>
  const asWritten = (parse(text) as { listen: Listen }).listen
  const complete = parse(switchedOn) as { listen: Listen } & Record<string, unknown>

  test.each(Object.entries(protocols))('of %s, with its default', (name, { options }) => {
    const given = complete.listen[name]
    expect(options.parse(given)).toEqual(options.parse(asWritten[name] ?? {}))
    const section =
      text.split(/^(?= {2}(?:# )?\w+:)/m).find((part) => new RegExp(`^ {2}(?:# )?${name}:`).test(part)) ?? ''
    for (const setting of settingsOf(options)) expect(section).toMatch(new RegExp(`[ {]${setting}:`))
  })

  test('of the gateway itself', () => {
    for (const setting of ['listen', 'layer', 'data', 'log', 'closeTimeout', 'drainTimeout', 'application']) {
      expect(Object.keys(complete)).toContain(setting)
    }
    expect(text).toMatch(/^# workers:/m)
  })

  test.each([
    ['worker threads', 'sync', settingsSchema.shape.sync],
    ['journal', 'journal', settingsSchema.shape.journal],
    ['admin listener', 'admin', settingsSchema.shape.admin],
  ] as const)('of the %s, with its default', (_, name, schema) => {
    expect(schema.parse(complete[name])).toEqual(schema.parse({}))
    const section = text.split(/^(?=(?:# )?\w+:)/m).find((part) => new RegExp(`^(?:# )?${name}:`).test(part)) ?? ''
    for (const setting of settingsOf(unwrapped(schema))) expect(section).toMatch(new RegExp(`^[# ]+ ${setting}:`, 'm'))
  })

  test('of the Redis layer, behind ##, with its default', () => {
    const written = text
      .split('\n')
      .filter((line) => line.startsWith('## '))
      .map((line) => line.slice(3))
    const { layer } = parse(written.join('\n')) as { layer: unknown }
    const capacity = { default: 100, patterns: [] }
    expect(layerSchema.parse(layer)).toEqual(layerSchema.parse({ redis: { capacity } }))
    for (const setting of settingsOf(redisSchema)) expect(written.join('\n')).toMatch(new RegExp(`[ {]${setting}:`))
  })

  /** The names of all settings, those inside others too. */
  function settingsOf(schema: unknown): string[] {
    if (!(schema instanceof z.ZodObject)) return []
    return Object.entries(schema.shape).flatMap(([name, inner]) => [name, ...settingsOf(unwrapped(inner))])
  }
  function unwrapped(schema: unknown): unknown {
    if (schema instanceof z.ZodPipe) return schema.in
    return schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional || schema instanceof z.ZodDefault
      ? unwrapped(schema.unwrap())
      : schema
  }
})

test.each([
  ['http', '/gethostbyname/localhost', 'hostname.ts#hostname'],
  ['http', '/', 'site.ts#site'],
  ['http', '/app.js', 'site.ts#site'],
  ['http', '/temperature/', 'api.ts#TemperatureApi'],
  ['http', '/temperature/kitchen', 'api.ts#TemperatureApi'],
  ['http', '/tickets/', 'api.ts#TicketsApi'],
  ['http', '/tickets/1', 'api.ts#TicketsApi'],
  ['http', '/tickets/1/attachments/2', 'api.ts#AttachmentApi'],
  ['websocket', '/chat/', 'chat.ts#ChatConsumer'],
  ['websocket', '/live/', 'live.ts#LiveConsumer'],
  ['websocket', '/chat', undefined],
  ['mqtt', 'sensors/kitchen/temperature', 'temperature.ts#MqttTemperatureConsumer'],
  ['email', 'help@support.org', 'tickets.ts#SupportTicketHandler'],
  ['email', 'Help@SUPPORT.org', 'tickets.ts#SupportTicketHandler'],
  ['email', 'help@support.org.evil.example', undefined],
  ['email', 'help@example.org', undefined],
  ['sms', '+14155550100', 'commands.ts#USTextHandler'],
  ['sms', '+447700900100', undefined],
] as const)('%s %s goes to %s', (name, address, application) => {
  const scope = { ...protocols[name].sampleScope(address), id: '', params: {}, route: '', state: {} }
  const rule = loaded.config?.application.resolve?.(scope)?.rules.at(-1)
  const leaf = rule && loaded.leafOf(rule)
  expect(leaf?.application).toBe(application && `./handlers/${application}`)
})
