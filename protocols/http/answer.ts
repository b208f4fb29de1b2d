/** A handler's answer as plain values, and the events that it is. */
import { SignalboxError } from '../../src/runtime/errors.ts'
import { unwritten } from '../../src/runtime/serves.ts'
import type { HttpAnswer } from './request.ts'
import type { HttpResponseBody, HttpResponseStart, HttpScope } from './scope.ts'

/** @throws SignalboxError `unexpected_event`: most often of a handler that forgot to return its answer. */
export function checkAnswer(answer: unknown, { id }: HttpScope): void {
  if (typeof answer === 'object' && answer !== null) return
  const found = typeof answer === 'string' ? JSON.stringify(answer.slice(0, 60)) : String(answer)
  throw new SignalboxError(
    'unexpected_event',
    `http scope ${id}: expected the handler to return { body }, { json } or a Response, found ${found}`,
  )
}

/** Why a consumer could not be asked: what it raised, unless it has nothing to ask. */
export function checkHandle(consumer: { readonly handle?: unknown }, error: unknown): unknown {
  return typeof consumer.handle === 'function' ? error : unwritten(consumer, 'handle(request)')
}

type Pair = readonly [name: string, value: string]

const textType: Pair = ['content-type', 'text/plain;charset=UTF-8']
const jsonType: Pair = ['content-type', 'application/json']

/** The content type of a text and of JSON is that of a web-standard Response, unless the answer names one. */
export function startOf({ status = 200, headers, body, json }: HttpAnswer): HttpResponseStart {
  const pairs: Pair[] = []
  let typed = false
  for (const [given, value] of headers ? Object.entries(headers) : []) {
    const name = given.toLowerCase()
    if (name === 'content-type') typed = true
    if (typeof value === 'string') pairs.push([name, value])
    else for (const each of value) pairs.push([name, each])
  }
  if (!typed && json !== undefined) pairs.push(jsonType)
  else if (!typed && typeof body === 'string') pairs.push(textType)
  return { type: 'http.response.start', status, headers: pairs }
}

export function bodyOf({ body, json }: HttpAnswer): HttpResponseBody {
  const content = json === undefined ? body : JSON.stringify(json)
  return content === undefined ? { type: 'http.response.body' } : { type: 'http.response.body', body: content }
}

/** Whether something that a handler has thrown is its answer. */
export function isAnswer(value: unknown): value is HttpAnswer {
  return typeof value === 'object' && value !== null && !Error.isError(value) && 'status' in value
}
