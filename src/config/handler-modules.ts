/** The modules of handlers: which of them have changed since they were loaded, so that those are loaded again and no others. */
import { hash as digest } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire, registerHooks, type ResolveHookContext } from 'node:module'
import { fileURLToPath } from 'node:url'

interface Known {
  /** What its file held when it was loaded; empty: it is to be loaded again whatever it holds. */
  hash: string
  /** 0 the first time. Node keeps a module by its URL for ever: another version needs another URL. */
  readonly version: number
  /** In which of the refreshes it got this version. */
  readonly since: number
  readonly imports: Set<string>
}

const loaders = createRequire(import.meta.url)

/** One for the process, as Node's own table of modules is. */
class HandlerModules {
  readonly #known = new Map<string, Known>()
  #generation = 0
  #hooks: ReturnType<typeof registerHooks> | undefined

  /**
   * Looks which files differ from what was loaded. They, and what imports them, get another version: whoever imports them from
   * now on loads them again, and whoever has them keeps what he has. A module that has not changed stays one, with its state.
   */
  refresh(): void {
    if (this.#known.size === 0) return
    this.#generation++
    const stale = new Set([...this.#known].filter(([url, { hash }]) => hash !== hashOf(url)).map(([url]) => url))
    for (let size = -1; size !== stale.size;) {
      size = stale.size
      for (const [url, { imports }] of this.#known) if ([...imports].some((name) => stale.has(name))) stale.add(url)
    }
    for (const url of stale) {
      this.#known.set(url, {
        hash: hashOf(url),
        version: this.#generation,
        since: this.#generation,
        imports: new Set(),
      })
      // What is no ES module is kept by its path as well.
      Reflect.deleteProperty(loaders.cache, fileURLToPath(url))
    }
  }

  /** The URL to import this module by: that of its version. */
  urlOf(url: string): string {
    this.watch()
    return this.#hooks ? this.#versioned(url) : url
  }

  /** Its import failed: the next refresh tries it again, with what it imports, also when no file has changed. */
  failed(versioned: string): void {
    const [url = ''] = versioned.split('?', 1)
    const broken = new Set([url])
    for (const name of broken) {
      const known = this.#known.get(name)
      // What was there before is fine.
      if (known?.since !== this.#generation) continue
      known.hash = ''
      for (const imported of known.imports) broken.add(imported)
    }
  }

  #versioned(url: string): string {
    const known = this.#known.get(url) ?? {
      hash: hashOf(url),
      version: 0,
      since: this.#generation,
      imports: new Set(),
    }
    this.#known.set(url, known)
    return known.version === 0 ? url : `${url}?v=${known.version}`
  }

  /**
   * Sees what handlers import from now on. A test runner that has modules of its own lets nobody at its resolver: there nothing is
   * loaded again.
   */
  watch(): void {
    if (this.#hooks) return
    try {
      this.#hooks = registerHooks({
        resolve: (specifier, context, next) => {
          const resolved = next(specifier, context)
          return { ...resolved, url: this.#imported(specifier, context, resolved.url) }
        },
      })
    } catch {
      // as it was
    }
  }

  /**
   * Looks away until `watch`, while no handler runs: as long as somebody sees what is imported, Node takes half as long again to load
   * a package.
   */
  rest(): void {
    this.#hooks?.deregister()
    this.#hooks = undefined
  }

  /** What a handler's module imports by a path is a handler's module too; packages are not. */
  #imported(specifier: string, { parentURL, conditions }: ResolveHookContext, url: string): string {
    const [parent = ''] = (parentURL ?? '').split('?', 1)
    const importer = this.#known.get(parent)
    if (!importer || !/^(?:\.{0,2}\/|file:|#)/.test(specifier)) return url
    if (!url.startsWith('file:') || url.includes('?') || url.includes('/node_modules/')) return url
    importer.imports.add(url)
    const versioned = this.#versioned(url)
    return conditions.includes('require') ? url : versioned
  }
}

export const handlerModules = new HandlerModules()

/** Empty for a file that is gone. */
function hashOf(url: string): string {
  try {
    return digest('sha256', readFileSync(fileURLToPath(url)), 'base64')
  } catch {
    return ''
  }
}
