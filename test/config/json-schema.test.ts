/** The JSON Schema says what the loader says: of the shape of the document, not of what it names. */
import { describe, expect, test } from '@jest/globals'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { jsonSchema } from '../../src/config/json-schema.ts'
import { withApplication, withTop } from '../support/config-text.ts'
import { toyRegistry } from '../support/toy-registry.ts'

const schema = jsonSchema(toyRegistry)
const checker = z.fromJSONSchema(schema)
const takes = (text: string): boolean => checker.safeParse(parse(text)).success

test('the fixture of these tests is taken', async () => {
  const file = path.join(import.meta.dirname, 'fixtures', 'gateway.yaml')
  expect(checker.safeParse(parse(await readFile(file, 'utf8'))).error).toBeUndefined()
})

describe('taken', () => {
  test.each<[string, string]>([
    ['an application for everything', 'listen: { http: }\napplication: ./a.ts#b\n'],
    [
      'variables for numbers, choices and yes or no',
      withTop(
        'listen: { http: , mqtt: { clients: "${N}", level: "${L}", anonymous: "${A}" } }',
        'log: { level: "${LOG:-info}" }',
      ),
    ],
    [
      'a router in a middleware in a router',
      withApplication(
        'http: { URLRouter: [{ url: ^, app: { accessLog: { app: { URLRouter: [{ path: /, app: a.ts#b }] } } } }] }',
      ),
    ],
    ["the user's own", withApplication('http: { ./a.ts#b: [{ x: 1, app: { ./c.ts#d: { y: [2], app: a.ts#b } } }] }')],
    [
      'channel and lifespan',
      withApplication('channel: { ChannelNameRouter: [{ channel: a, app: a.ts#b }] }', 'lifespan: a.ts#b'),
    ],
  ])('%s', (_, text) => {
    expect(takes(text)).toBe(true)
  })
})

describe('not taken', () => {
  test.each<[string, string]>([
    ['an unknown key', withTop('listen: { http: }', 'layr: memory')],
    ['an unknown protocol', withTop('listen: { htp: }')],
    ['nothing to listen on', withTop('listen: {}')],
    ['an unknown option', withTop('listen: { http: { adress: 1 } }')],
    ['a missing option', withTop('listen: { http: , sms: { provider: { twilio: { authToken: a } } } }')],
    ['a number over its limit', withTop('listen: { http: , mqtt: { clients: 500 } }')],
    ['no application', 'listen: { http: }\n'],
    ['a reference without an export', withApplication('http: ./a.ts')],
    ['a router of another protocol', withApplication('mqtt: { URLRouter: [{ url: ^, app: a.ts#b }] }')],
    ['a middleware of another protocol', withApplication('mqtt: { allowedHosts: { hosts: [a], app: a.ts#b } }')],
    ['a rule with two matches', withApplication('http: { URLRouter: [{ url: ^, path: /, app: a.ts#b }] }')],
    ['a rule without app', withApplication('http: { URLRouter: [{ url: ^ }] }')],
    [
      'two names in one place',
      withApplication('http: { accessLog: { app: a.ts#b }, timeout: { after: 1s, app: a.ts#b } }'),
    ],
  ])('%s', (_, text) => {
    expect(takes(text)).toBe(false)
  })
})

test('every setting below listen has a default that the schema takes, or is required', () => {
  const { properties } = (schema['properties'] as { listen: { properties: Record<string, unknown> } }).listen
  for (const { name, options } of toyRegistry.definitions) {
    expect(Object.keys(properties)).toContain(name)
    expect(options.safeParse({}).success).toBe(
      checker.safeParse({ listen: { [name]: {} }, application: 'a.ts#b' }).success,
    )
  }
})
