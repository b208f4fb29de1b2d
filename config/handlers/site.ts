/** `GET /`: the page and its files, from the folder `site` beside this one. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { httpHandler } from 'signalbox'
import { isReading, methodNotAllowed, notFound } from './answers.ts'

const folder = new URL('../site/', import.meta.url)
const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
}

/** Nothing inline, nothing from elsewhere, nothing in a frame. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

export const site = httpHandler(async ({ method, path, headers, scope }) => {
  const name = (scope.pathRemaining ?? path.slice(1)) || 'index.html'
  // One plain name, no folder: there is no path that leads out of this one.
  const [, extension = ''] = /^[a-z]+\.([a-z]+)$/.exec(name) ?? []
  const type = types[extension]
  const body = type === undefined ? undefined : await contentOf(name)
  if (type === undefined || body === undefined) return notFound()
  if (!isReading(method)) return methodNotAllowed()

  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
  const common = { etag, 'cache-control': 'no-cache' }
  // RFC 9110 13.1.2: a comparison that ignores the W/ of weak tags.
  const known = (headers.get('if-none-match') ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''))
  if (known.includes(etag) || known.includes('*')) return new Response(null, { status: 304, headers: common })
  return new Response(body, {
    headers: {
      ...common,
      'content-type': type,
      'content-security-policy': policy,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    },
  })
})

/** Read each time, so that a change of the page shows at the next reload. */
async function contentOf(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await readFile(new URL(name, folder))
  } catch (error) {
    if (Error.isError(error) && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
