/** Scopes that no adapter has made. */
import type { BaseScope } from '../../src/asgi/protocol.ts'

/** A scope of this type without a peer, as far as the test says nothing else. */
export function scopeOf<Type extends string, More extends object = object>(type: Type, more?: More) {
  const scope = { type, id: 's1', client: null, server: null, params: {}, route: '', state: {} } satisfies BaseScope
  return { ...scope, ...more } as BaseScope & { readonly type: Type } & More // where nothing is given, it is `object`
}
