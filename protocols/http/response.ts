/** A web-standard Response as the events of its scope. */
import { settled } from '../../src/runtime/settled.ts'
import type { HttpProtocol } from './scope.ts'

type Reader = ReadableStreamDefaultReader<Uint8Array>

/** Where it goes. */
export interface ResponseTarget {
  send(event: HttpProtocol['send']): Promise<void>
  /** Aborted when the peer leaves: the stream is cancelled then. */
  readonly signal: AbortSignal
}

/** Whether a reply is one, of whichever library or realm. */
export function isResponse(reply: object): reply is Response {
  return 'bodyUsed' in reply
}

export async function sendResponse({ status, headers, body }: Response, target: ResponseTarget): Promise<void> {
  await target.send({ type: 'http.response.start', status, headers: [...headers] })
  if (body) await sendAll(body.getReader(), target)
  else await target.send({ type: 'http.response.body' })
}

async function sendAll(reader: Reader, target: ResponseTarget): Promise<void> {
  let signal: AbortSignal | undefined
  const cancel = () => void reader.cancel(signal?.reason).catch(() => undefined)
  // What is there as a whole is sent in this turn, and nobody need be listened to. Whoever still waits may do so for ever.
  const listening = setImmediate(() => {
    signal = target.signal
    if (signal.aborted) cancel()
    else signal.addEventListener('abort', cancel, { once: true })
  })
  try {
    await sendParts(reader, target)
  } catch (error) {
    cancel()
    throw error
  } finally {
    clearImmediate(listening)
    signal?.removeEventListener('abort', cancel)
  }
}

async function sendParts(reader: Reader, target: ResponseTarget): Promise<void> {
  const first = await reader.read()
  const next = reader.read()
  // A body of one part is sent whole, with its length; of a slow stream the first part is sent when it is there.
  if (first.done || (await isOver(next)))
    return target.send({ type: 'http.response.body', ...(first.value && { body: first.value }) })
  await target.send({ type: 'http.response.body', body: first.value, moreBody: true })
  for (let part = await next; !part.done; part = await reader.read())
    await target.send({ type: 'http.response.body', body: part.value, moreBody: true })
  await target.send({ type: 'http.response.body' })
}

/** Whether nothing follows, as far as that can be told within a turn of the event loop. */
async function isOver(next: ReturnType<Reader['read']>): Promise<boolean> {
  let over = false
  const told = next.then(({ done }) => (over = done))
  // Of a text or bytes it is known at once, and the turn need not be waited for.
  await settled
  return over || Promise.race([told, soon()])
}

/** A turn of the event loop later, with `false`. */
function soon(): Promise<false> {
  return new Promise((resolve) => {
    setImmediate(resolve, false)
  })
}
