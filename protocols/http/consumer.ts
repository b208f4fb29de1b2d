/** The base class of consumers for HTTP, and the same for a plain function. */
import type { Context } from '../../src/asgi/context.ts'
import type { Application, Receive } from '../../src/asgi/protocol.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { Mailbox } from '../../src/runtime/mailbox.ts'
import { HttpRequestReader, leftEarly } from './request.ts'
import type { HttpProtocol } from './scope.ts'

type Reader = ReadableStreamDefaultReader<Uint8Array>

/**
 * One object a request. Messages to its groups are handled beside `handle`, also while a response is being streamed.
 *
 * @example
 * class Hello extends HttpConsumer {
 *   override async handle({ params }: HttpRequestReader) {
 *     return new Response(`Hello, ${params.name}`)
 *   }
 * }
 */
export abstract class HttpConsumer extends Consumer<HttpProtocol> {
  protected readonly lastEvent = 'http.disconnect'

  /**
   * Answers the request with a web-standard Response; its body may be a stream. A Response that is thrown is the answer too;
   * whatever else is thrown is answered 500.
   */
  abstract handle(request: HttpRequestReader): Promise<Response> | Response

  protected override async run(receive: Receive<HttpProtocol>): Promise<void> {
    await this.joinGroups()
    const body = new Mailbox<Uint8Array | undefined>()
    const wanted = new Mailbox<true>()
    const request = new HttpRequestReader(this.scope, () => {
      wanted.put(true)
      return body.take()
    })
    const answering = this.#answer(request)
    // The response is what counts; a message handler that raises ends it all the same.
    await Promise.race([answering, this.#pump(receive, body, wanted).then(() => answering)])
  }

  /** Takes every event: parts of the body when the handler wants them, messages at once, the disconnect at the end. */
  async #pump(
    receive: Receive<HttpProtocol>,
    body: Mailbox<Uint8Array | undefined>,
    wanted: Mailbox<true>,
  ): Promise<void> {
    let more = true
    for (;;) {
      const event = await receive()
      if (event.type === 'http.disconnect') {
        if (more) body.close(leftEarly())
        return
      }
      if (event.type !== 'http.request') {
        await this.dispatch(event)
        continue
      }
      more = event.moreBody
      body.put(event.body)
      if (!more) body.put(undefined)
      // Asking for the next part before this one is wanted would take the back-pressure from the peer.
      else await wanted.take()
    }
  }

  async #answer(request: HttpRequestReader): Promise<void> {
    const { status, headers, body } = await this.#response(request)
    await this.send({ type: 'http.response.start', status, headers: [...headers] })
    if (body) await this.#sendAll(body.getReader())
    else await this.send({ type: 'http.response.body' })
  }

  async #response(request: HttpRequestReader): Promise<Response> {
    try {
      return await this.handle(request)
    } catch (error) {
      if (error instanceof Response) return error
      throw error
    }
  }

  async #sendAll(reader: Reader): Promise<void> {
    const first = await reader.read()
    const next = reader.read()
    // A body of one part is sent whole, with its length; of a slow stream the first part is sent when it is there.
    const whole = first.done || (await Promise.race([next.then(({ done }) => done), soon()]))
    if (whole) return this.send({ type: 'http.response.body', ...(first.value && { body: first.value }) })
    await this.send({ type: 'http.response.body', body: first.value, moreBody: true })
    await this.#stream(reader, next)
  }

  async #stream(reader: Reader, second: ReturnType<Reader['read']>): Promise<void> {
    const cancel = () => void reader.cancel(this.signal.reason).catch(() => undefined)
    this.signal.addEventListener('abort', cancel, { once: true })
    try {
      let part = await second
      while (!part.done) {
        await this.send({ type: 'http.response.body', body: part.value, moreBody: true })
        part = await reader.read()
      }
      await this.send({ type: 'http.response.body' })
    } catch (error) {
      cancel()
      throw error
    } finally {
      this.signal.removeEventListener('abort', cancel)
    }
  }
}

/** A turn of the event loop later, with `false`. */
function soon(): Promise<false> {
  return new Promise((resolve) => {
    setImmediate(resolve, false)
  })
}

/**
 * Makes an application of a function: `export const hello = httpHandler(async ({ params }) => new Response(params.name))`.
 * A Response that it throws is the answer too; whatever else it throws is answered 500.
 */
export function httpHandler(
  handle: (request: HttpRequestReader, context: Context) => Promise<Response> | Response,
): Application<HttpProtocol> {
  class Handler extends HttpConsumer {
    override handle(request: HttpRequestReader): Promise<Response> | Response {
      return handle(request, this.context)
    }
  }
  return Handler.asApplication()
}
