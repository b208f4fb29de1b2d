/** `delivery:` in the YAML: where it may stand, what it may say, and which one counts. */
import { describe, expect, test } from '@jest/globals'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { protocols } from '../../protocols/registry.ts'
import type { DeliveryOptions } from '../../src/asgi/delivery.ts'
import type { Step } from '../../src/asgi/protocol.ts'
import { loadConfig, type LoadResult } from '../../src/config/load.ts'
import { builtinMiddleware } from '../../src/middleware/registry.ts'
import { channelNameRouterDefinition } from '../../src/routing/channel-name-router.ts'
import { shortly, temporaryFolder, withApplication } from '../support/config-text.ts'
import { scopeOf } from '../support/scopes.ts'

const registry = {
  definitions: Object.values(protocols),
  routers: [channelNameRouterDefinition],
  middleware: builtinMiddleware,
}
const site = './handlers.ts#site'

async function load(...lines: readonly string[]): Promise<LoadResult> {
  await using place = await temporaryFolder()
  await writeFile(path.join(place.folder, 'gateway.yaml'), withApplication(...lines))
  return await loadConfig('gateway.yaml', { ...registry, environment: {}, folder: place.folder })
}

const mistakes = async (...lines: readonly string[]) => (await load(...lines)).diagnostics.map(shortly)

const where = {
  mqtt: { topic: 'sensors/hall', topicRemaining: 'sensors/hall', clientId: 'a' },
  email: { recipient: 'bob@support.org', tag: '', sender: 'ann@example.org' },
  sms: { from: '+14155550100', to: '+14155550199', kind: 'message' },
}

/** What the rule that takes a scope says of its delivery. */
async function said(type: keyof typeof where, ...lines: readonly string[]): Promise<DeliveryOptions | undefined> {
  const { config, diagnostics } = await load(...lines)
  expect(diagnostics.map(shortly)).toEqual([])
  const { application } = config ?? {}
  const resolution = application?.resolve?.(scopeOf(type, where[type]))
  expect(resolution).toBeDefined()
  return resolution?.delivery
}

describe('beside the app of a rule', () => {
  test.each([
    ['mqtt', 'TopicRouter', 'topic: sensors/#'],
    ['email', 'EmailToRouter', 'domain: support.org'],
    ['sms', 'SMSFromRouter', 'phone: "+1"'],
  ] as const)('%s: as a word, or with all that can be said', async (type, router, rule) => {
    const lines = (delivery: string) => [
      `${type}:`,
      `  ${router}:`,
      `    - { ${rule}, delivery: ${delivery}, app: ${site} }`,
    ]
    expect(await said(type, ...lines('handled'))).toEqual({ mode: 'handled' })
    const all = '{ attempts: 8, backoff: 2s, maxBackoff: 1m, concurrency: 4, key: from }'
    expect(await said(type, ...lines(all))).toEqual({
      attempts: 8,
      backoff: 2000,
      maxBackoff: 60_000,
      concurrency: 4,
      key: 'from',
    })
  })

  test('of one rule says nothing of the next', async () => {
    const rules = ['email:', '  EmailToRouter:', `    - { domain: other.org, delivery: handled, app: ${site} }`]
    expect(await said('email', ...rules, `    - { domain: support.org, app: ${site} }`)).toBeUndefined()
  })
})

test('around an app where there is no router', async () => {
  expect(await said('mqtt', `mqtt: { delivery: { mode: handled, app: ${site} } }`)).toEqual({ mode: 'handled' })
})

test('of rules in each other the innermost counts, in each thing that it says', async () => {
  const rules = [
    'email:',
    '  EmailToRouter:',
    '    - regex: .',
    '      delivery: { mode: handled, attempts: 2, concurrency: 3 }',
    '      app:',
    '        EmailToRouter:',
    `          - { domain: support.org, delivery: { attempts: 7 }, app: { delivery: { concurrency: 9, app: ${site} } } }`,
  ]
  expect(await said('email', ...rules)).toEqual({ mode: 'handled', attempts: 7, concurrency: 9 })
})

test('which rule takes an address, and what is told of it, is the same with it and without', async () => {
  const told = async (delivery: string) => {
    const { config } = await load(
      'email:',
      '  EmailToRouter:',
      `    - { domain: other.org, ${delivery}app: ${site} }`,
      `    - { domain: support.org, ${delivery}app: ${site} }`,
    )
    const steps: Step[] = []
    const resolution = config?.application.resolve?.(scopeOf('email', where.email), (step) => steps.push(step))
    return { route: resolution?.route, steps }
  }
  const without = await told('')
  expect(without.route).toMatch(/:12$/)
  expect(await told('delivery: handled, ')).toEqual(without)
})

describe('what may not stand there', () => {
  const email = (delivery: string) => [
    'email:',
    '  EmailToRouter:',
    `    - { domain: a.org, delivery: ${delivery}, app: ${site} }`,
  ]

  test.each<[string, readonly string[], string]>([
    [
      'none, for what always has an answer to wait for',
      email('none'),
      'found none, expected for email stored or handled',
    ],
    [
      'none, around an app',
      [`sms: { delivery: { mode: none, app: ${site} } }`],
      'found none, expected for sms stored or handled',
    ],
    [
      'anything, where the answers are the application’s own',
      ['http:', '  URLRouter:', `    - { path: /x, delivery: handled, app: ${site} }`],
      "http has no delivery to choose: its answers are the application's own",
    ],
    ['a mode that there is not', email('kept'), 'kept'],
    ['a key that there is not', email('{ tries: 3 }'), 'tries'],
    ['no attempt at all', email('{ attempts: 0 }'), 'attempts'],
    ['a time without a unit', email('{ backoff: 3 }'), 'found 3, expected a duration with its unit'],
  ])('%s', async (_, lines, expected) => {
    const found = await mistakes(...lines)
    expect(found).toHaveLength(1)
    expect(found[0]).toContain(expected)
    expect(found[0]).toMatch(/^\d+:\d+ /)
  })
})
