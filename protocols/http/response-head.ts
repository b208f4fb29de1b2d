/** What `http.response.start` says, checked, before any of it is on the wire. */
import { SignalboxError } from '../../src/runtime/errors.ts'
import { checkHeader, isToken, listOfHeaders, type HeaderOwner } from '../../src/runtime/http-headers.ts'
import type { HttpResponseStart } from './scope.ts'

export interface ResponseHead {
  readonly status: number
  /** Name and value in turn. */
  readonly headers: string[]
  /** What the application's `content-length` says; undefined when it gave none. */
  readonly length: number | undefined
  /** False where the status allows no body (RFC 9110 15.3.5, 15.4.5). */
  readonly hasBody: boolean
  /** Whether every header is ASCII: only then may it leave in one string with a UTF-8 body. */
  readonly ascii: boolean
}

const ascii = /^[\t\x20-\x7e]*$/
const number = /^\d{1,15}$/

/** @throws SignalboxError `unexpected_event` for a status or a header that a response cannot have. */
export function responseHead({ status, headers }: HttpResponseStart, owner: HeaderOwner): ResponseHead {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw unexpected(owner, `expected a status from 200 to 599, found ${String(status)}`)
  }
  const head: Writable<ResponseHead> = {
    status,
    headers: [],
    length: undefined,
    hasBody: status !== 204 && status !== 304,
    ascii: true,
  }
  if (headers === undefined) return head
  for (const header of listOfHeaders(headers, owner)) {
    if (!isPlain(header)) {
      checkHeader(header, owner)
      head.ascii = false
    }
    addHeader(head, header, owner)
  }
  return head
}

/** Most are: then nothing else is to be looked at. */
function isPlain(header: unknown): header is readonly [string, string] {
  if (!Array.isArray(header) || header.length !== 2) return false
  const [name, value] = header as readonly unknown[]
  return typeof name === 'string' && typeof value === 'string' && isToken(name) && ascii.test(value)
}

function addHeader(head: Writable<ResponseHead>, header: readonly [string, string], owner: HeaderOwner): void {
  const [name, value] = header
  // The names that matter here have these lengths; most names are none of them.
  const kind = name.length === 14 || name.length === 17 ? name.toLowerCase() : ''
  // How the body is framed is the server's to say.
  if (kind === 'transfer-encoding') return
  if (kind === 'content-length') {
    if (head.length !== undefined || !number.test(value)) {
      throw unexpected(owner, `expected one content-length, a number, found ${JSON.stringify(value)}`)
    }
    head.length = Number(value)
    if (head.status === 204) return // RFC 9110 8.6
  }
  head.headers.push(name, value)
}

function unexpected(owner: HeaderOwner, message: string): SignalboxError {
  return new SignalboxError('unexpected_event', `${owner.type} scope ${owner.id}: ${message}`)
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }
