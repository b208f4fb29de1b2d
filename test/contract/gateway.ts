/** A gateway around one application, reached by the one rule of a driver; it ends with the test. */
import { afterEach } from '@jest/globals'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { httpOptions } from '../../protocols/http/options.ts'
import type { Log } from '../../src/asgi/context.ts'
import type { Application } from '../../src/asgi/protocol.ts'
import type { Journal } from '../../src/journal/journal.ts'
import type { JournalOptions } from '../../src/journal/options.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { protocolTypeRouter } from '../../src/routing/protocol-type-router.ts'
import { defineRouter } from '../../src/routing/router.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { Gateway } from '../../src/server/gateway.ts'
import type { Driver } from './drivers.ts'

const steps: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of steps.splice(0).toReversed()) await step()
})

/** Done when the test is over: what was said last comes first. */
export function afterwards(step: () => Promise<unknown>): void {
  steps.push(step)
}

export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-'))
  afterwards(() => rm(folder, { recursive: true, force: true }))
  return folder
}

interface Settings {
  readonly closeTimeout: number
  readonly drainTimeout: number
  readonly log?: Log
  /** What it keeps there stays for the next one. Default a new folder. */
  readonly data?: string
  /** Makes it store. */
  readonly kept?: { readonly journal: Journal; readonly options: JournalOptions }
}

/** The gateway, and the URL at which the driver's peers find it. */
export async function startGateway(driver: Driver, app: Application, settings: Settings) {
  const { closeTimeout, drainTimeout, log = silentLog, data = await newFolder(), kept } = settings
  const router = driver.definition.routers.find(({ keys }) => (Object.keys(driver.rule)[0] as string) in keys)
  if (!router) throw new Error(`no router of ${driver.name} has the key of ${JSON.stringify(driver.rule)}`)
  const build = defineRouter(router as Parameters<typeof defineRouter>[0])
  const options = { ...(driver.options as object), ...(kept && driver.stores?.options) }
  const gateway = await Gateway.start(
    {
      application: protocolTypeRouter({ [driver.name]: build([{ ...driver.rule, app }] as never) }),
      listen: { [driver.name]: driver.definition.options.parse(options) },
      http: httpOptions.parse({ address: '127.0.0.1:0' }),
      base: data,
      data,
      closeTimeout,
      drainTimeout,
      ...(kept && { journal: kept.options }),
    },
    { definitions: [driver.definition], layer: new MemoryLayer(), log, ...(kept && { journal: kept.journal }) },
  )
  afterwards(() => gateway.close())
  return { gateway, url: (gateway.listeners[0]?.urls[0] ?? '').replace(/^ws/, 'http') }
}
