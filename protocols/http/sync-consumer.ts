/** The base class of HTTP consumers that block, and the same for a plain function. */
import type { SyncConsumerClass, SyncContext } from '../../src/asgi/sync.ts'
import type { Event } from '../../src/asgi/protocol.ts'
import { SyncConsumer } from '../../src/consumers/sync-consumer.ts'
import { refusePromise } from '../../src/runtime/blocking.ts'
import { serves, type Serves } from '../../src/runtime/serves.ts'
import { bodyOf, checkAnswer, checkHandle, isAnswer, startOf } from './answer.ts'
import { SyncHttpRequest, type HttpAnswer } from './request.ts'
import type { HttpProtocol, HttpRequest } from './scope.ts'

/**
 * One object a request, on a worker thread. `handle` is called when the whole body is there.
 *
 * @example
 * export class Report extends SyncHttpConsumer {
 *   override handle({ params }: SyncHttpRequest) {
 *     return { json: database.prepare('SELECT …').all(params.year) }
 *   }
 * }
 */
export abstract class SyncHttpConsumer extends SyncConsumer<HttpProtocol> {
  static override readonly [serves]: Serves = { protocols: ['http'], methods: ['handle'] }
  readonly #parts: Uint8Array[] = []

  /** Answers the request. An answer that is thrown is the answer too; whatever else is thrown is answered 500. */
  abstract handle(request: SyncHttpRequest): HttpAnswer

  'http.request'({ body, moreBody }: HttpRequest): void {
    this.#parts.push(body)
    if (moreBody) return
    const answer = this.#answer(new SyncHttpRequest(this.scope, this.#parts))
    checkAnswer(answer, this.scope)
    this.send(startOf(answer))
    this.send(bodyOf(answer))
  }

  /** It is over with its answer; nothing is left to do for a peer that leaves. */
  protected override isLast(event: Event): boolean {
    return super.isLast(event) || (event.type === 'http.request' && 'moreBody' in event && event.moreBody === false)
  }

  #answer(request: SyncHttpRequest): HttpAnswer {
    let answer: HttpAnswer
    try {
      answer = this.handle(request)
    } catch (error) {
      if (isAnswer(error)) return error
      throw checkHandle(this, error)
    }
    refusePromise(answer, () => (this.constructor.name ? `${this.constructor.name}.handle` : unnamed))
    return answer
  }
}

/** The class that `syncHttpHandler` makes has no name: the worker finds it by that of the export. */
const unnamed = 'the function of syncHttpHandler'

/** Makes an application of a blocking function: `export const report = syncHttpHandler(({ params }) => ({ json: … }))`. */
export function syncHttpHandler(
  handle: (request: SyncHttpRequest, context: SyncContext) => HttpAnswer,
): SyncConsumerClass<HttpProtocol> {
  return class extends SyncHttpConsumer {
    override handle(request: SyncHttpRequest): HttpAnswer {
      return handle(request, this.context)
    }
  }
}
