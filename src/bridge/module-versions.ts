/** In a worker thread: what a handler's module imports is as new as the module, which has its version in its URL. */
import { registerHooks } from 'node:module'

/** To be called once, before anything is loaded. */
export function followVersions(): void {
  registerHooks({
    resolve: (specifier, { parentURL, ...context }, next) => {
      const resolved = next(specifier, { ...context, parentURL })
      const version = /\?v=\d+$/.exec(parentURL ?? '')?.[0]
      const own = /^\.{0,2}\//.test(specifier) && resolved.url.startsWith('file:') && !resolved.url.includes('?')
      const imported = own && !context.conditions.includes('require') && !resolved.url.includes('/node_modules/')
      if (version === undefined || !imported) return resolved
      return { ...resolved, url: resolved.url + version }
    },
  })
}
