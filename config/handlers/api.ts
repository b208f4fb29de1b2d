/** What came in, as JSON: the rooms' temperatures and the tickets. Lists are newest first. */
import { HttpConsumer, type HttpRequestReader } from 'signalbox'
import { isReading, json, limitIn, methodNotAllowed, notFound } from './answers.ts'
import { storeOf } from './store.ts'
import type { Reading } from './store/readings.ts'

/** `GET /temperature/`: the latest reading of each room. `GET /temperature/kitchen`: one room with its history. */
export class TemperatureApi extends HttpConsumer {
  override async handle({ method, params, query }: HttpRequestReader): Promise<Response> {
    if (!isReading(method)) return methodNotAllowed()
    const limit = limitIn(query)
    if (typeof limit !== 'number') return limit

    const { readings } = storeOf(this.scope)
    const { room } = params
    if (!room) return json(200, readings.rooms(limit).map(shown))
    const latest = readings.latest(room)
    if (!latest) return notFound(`no reading of ${room}`)
    const history = readings.history(room, limit).map(({ celsius, at }) => ({ celsius, at }))
    return json(200, { ...shown(latest), history })
  }
}

function shown({ room, celsius, at }: Reading) {
  return { room, celsius, at }
}

/** `GET /tickets/`: the tickets. `GET /tickets/1`: one with its messages. */
export class TicketsApi extends HttpConsumer {
  override async handle({ method, params, query }: HttpRequestReader): Promise<Response> {
    if (!isReading(method)) return methodNotAllowed()
    const limit = limitIn(query)
    if (typeof limit !== 'number') return limit

    const { tickets } = storeOf(this.scope)
    if (!params['number']) return json(200, tickets.list(limit))
    const ticket = tickets.find(Number(params['number']))
    if (!ticket) return notFound(`no ticket ${params['number']}`)
    return json(200, { ...ticket, messages: tickets.messages(ticket.id, limit) })
  }
}

/** `GET /tickets/1/attachments/2`: a file from a stranger, so it is only ever saved, never shown. */
export class AttachmentApi extends HttpConsumer {
  override async handle({ method, params }: HttpRequestReader): Promise<Response> {
    if (!isReading(method)) return methodNotAllowed()
    const attachment = storeOf(this.scope).tickets.attachment(Number(params['number']), Number(params['attachment']))
    if (!attachment) return notFound('no such attachment')
    const { filename, contentType, content } = attachment
    return new Response(content, {
      headers: {
        'content-type': contentType,
        'content-disposition': `attachment; filename*=UTF-8''${encoded(filename)}`,
        'content-security-policy': "default-src 'none'; sandbox",
        'x-content-type-options': 'nosniff',
        'cache-control': 'no-store',
      },
    })
  }
}

/** RFC 8187 3.2.1: `'()*` are not for names, and `encodeURIComponent` leaves them. */
function encoded(filename: string): string {
  return encodeURIComponent(filename).replace(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16)}`)
}
