/** Loads YAML from a text, in a folder with the handlers of the fixtures. */
import { afterAll } from '@jest/globals'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Diagnostic } from '../../src/config/diagnostics.ts'
import type { Environment } from '../../src/config/environment.ts'
import { loadConfig, type LoadResult } from '../../src/config/load.ts'
import { toyRegistry } from './toy-registry.ts'

const fixtures = path.join(import.meta.dirname, '..', 'config', 'fixtures')

export async function temporaryFolder(): Promise<AsyncDisposable & { readonly folder: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-config-'))
  await cp(fixtures, folder, { recursive: true })
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

let shared: ReturnType<typeof temporaryFolder> | undefined
afterAll(async () => (await shared)?.[Symbol.asyncDispose]())

/** One after the other: every text stands in the same file of the same folder. */
export async function loadText(text: string | Uint8Array, environment: Environment = {}): Promise<LoadResult> {
  const { folder } = await (shared ??= temporaryFolder())
  await writeFile(path.join(folder, 'gateway.yaml'), text)
  return await loadConfig('gateway.yaml', { ...toyRegistry, environment, folder })
}

/** `3:14 listen.http.address found …, expected …` */
export const shortly = ({ line, column, path: where, message }: Diagnostic): string =>
  [`${line}:${column}`, where, message].filter((part) => part !== '').join(' ')

export async function mistakes(text: string | Uint8Array, environment?: Environment): Promise<readonly string[]> {
  const { diagnostics, config } = await loadText(text, environment)
  const wrong = diagnostics.some(({ severity }) => severity === 'error')
  if (wrong !== (config === undefined)) throw new Error('a configuration is there exactly when nothing is wrong')
  return diagnostics.map(shortly)
}

/**
 * A document with these lines for `application`, six spaces deep, below `ProtocolTypeRouter`; they begin in line 9. It listens for
 * what they name, each in a line of its own.
 */
export const withApplication = (...lines: readonly string[]): string => {
  const named = (name: string) => lines.some((line) => line.startsWith(`${name}:`))
  const alone = !named('mqtt') && !named('email')
  return [
    'listen:',
    alone || named('http') || named('websocket') || named('sms') ? '  http: { address: 127.0.0.1:0 }' : '#',
    named('mqtt') ? '  mqtt: { address: 127.0.0.1:0 }' : '#',
    named('email') ? '  email:' : '#',
    named('sms') ? '  sms: { provider: { twilio: { authToken: development, publicUrl: "http://127.0.0.1" } } }' : '#',
    '',
    'application:',
    '  ProtocolTypeRouter:',
    ...lines.map((line) => `    ${line}`),
    '',
  ].join('\n')
}

/** A document with these rules for `http`; the first one stands in line 11. */
export const withRules = (...rules: readonly string[]): string =>
  withApplication('http:', '  URLRouter:', ...rules.map((rule) => `    - ${rule}`))

/** A document with these lines before a fine `application`. */
export const withTop = (...lines: readonly string[]): string =>
  [...lines, 'application: { ProtocolTypeRouter: { http: ./handlers.ts#site } }', ''].join('\n')
