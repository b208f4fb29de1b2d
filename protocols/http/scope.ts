/** HTTP as scope and events: the ASGI 3 HTTP protocol, field for field, in camelCase. */
import type { BaseScope, Protocol } from '../../src/asgi/protocol.ts'

/** Header names lower-case; order and repeats as on the wire. Values are latin-1 text. */
export type Headers = readonly (readonly [name: string, value: string])[]

/** One request. */
export interface HttpScope extends BaseScope {
  readonly type: 'http'
  /** `1.0` or `1.1`. */
  readonly httpVersion: string
  readonly method: string
  readonly scheme: 'http' | 'https'
  /** Percent-decoded, UTF-8, without the query; with `rootPath`. */
  readonly path: string
  /** As on the wire, without the query. */
  readonly rawPath: string
  /** As on the wire, without the `?`. */
  readonly queryString: string
  /** The prefix under which a proxy mounts the gateway, from the YAML; the outermost router strips it. */
  readonly rootPath: string
  /** What the routers on the way have left of the path; undefined before the first. */
  readonly pathRemaining?: string
  readonly headers: Headers
}

/** A part of the request's body. */
export interface HttpRequest {
  readonly type: 'http.request'
  readonly body: Uint8Array
  /** True when more parts follow. */
  readonly moreBody: boolean
}
/** The peer left, or the response is complete. */
export interface HttpDisconnect {
  readonly type: 'http.disconnect'
}
export interface HttpResponseStart {
  readonly type: 'http.response.start'
  readonly status: number
  readonly headers?: Headers
}
export interface HttpResponseBody {
  readonly type: 'http.response.body'
  readonly body?: Uint8Array | string
  /** True when more parts follow. Default false. */
  readonly moreBody?: boolean
}

export interface HttpProtocol extends Protocol {
  readonly scope: HttpScope
  readonly receive: HttpRequest | HttpDisconnect
  readonly send: HttpResponseStart | HttpResponseBody
}
