/** What all copies of this package in one thread share: a gateway and the handlers that it loads may each bring their own. */

const registryKey = Symbol.for('signalbox.bridge.shared')

/** The value of this name; made by whichever copy asks first. */
export function shared<T>(name: string, make: () => T): T {
  const registry = registryOf(globalThis as Host)
  if (!registry.has(name)) registry.set(name, make())
  return registry.get(name) as T // every copy puts the same kind of thing under a name
}

interface Host {
  [registryKey]?: Map<string, unknown>
}

function registryOf(host: Host): Map<string, unknown> {
  host[registryKey] ??= new Map()
  return host[registryKey]
}
