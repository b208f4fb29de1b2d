/** The HTTP answers that several handlers give. */

const always = { 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' }

export function text(status: number, body: string): Response {
  return new Response(body, { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...always } })
}

export function json(status: number, body: unknown): Response {
  return Response.json(body, { status, headers: always })
}

export function notFound(error = 'not found'): Response {
  return json(404, { error })
}

/** Whether a request only asks: RFC 9110 9.3. */
export function isReading(method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** RFC 9110 15.5.6: says what is allowed. */
export function methodNotAllowed(): Response {
  const headers = { ...always, allow: 'GET, HEAD' }
  return Response.json({ error: 'expected GET' }, { status: 405, headers })
}

const most = 1000

/** `?limit=10`, 100 if left out; or the answer to what is no limit. */
export function limitIn(query: URLSearchParams): number | Response {
  const limit = query.get('limit') ?? '100'
  const isLimit = /^\d{1,4}$/.test(limit) && Number(limit) >= 1 && Number(limit) <= most
  return isLimit ? Number(limit) : json(400, { error: `limit: expected a whole number from 1 to ${most}` })
}
