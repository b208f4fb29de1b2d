/** What a peer asked for, in one word, whatever its protocol. */
import type { BaseScope } from '../asgi/protocol.ts'

/** The keys that hold a scope's address, in the order they are looked for. */
const keys = ['path', 'topic', 'recipient', 'from', 'channel', 'clientId'] as const

/** The path, topic, recipient, sender or channel of a scope; empty when it has none. */
export function addressOf(scope: BaseScope): string {
  for (const key of keys) {
    const value: unknown = Reflect.get(scope, key)
    if (typeof value === 'string' && value !== '') return value
  }
  return ''
}

/** The value of a header; undefined when it is missing. Names are lower-case in scopes. */
export function headerOf(scope: BaseScope, name: string): string | undefined {
  const headers: unknown = Reflect.get(scope, 'headers')
  if (!Array.isArray(headers)) return undefined
  const pair: unknown = headers.find((header: unknown) => Array.isArray(header) && header[0] === name)
  return Array.isArray(pair) ? String(pair[1]) : undefined
}
