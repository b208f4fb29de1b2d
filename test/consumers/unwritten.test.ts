/** Consumers that have not written what their events need, or are of another protocol: no peer is told that all is well. */
import { describe, expect, test } from '@jest/globals'
import { EmailConsumer, SyncEmailConsumer } from '../../protocols/email/consumer.ts'
import type { EmailMessage, EmailProtocol } from '../../protocols/email/scope.ts'
import { MqttConsumer, SyncMqttConsumer } from '../../protocols/mqtt/consumer.ts'
import type { MqttProtocol } from '../../protocols/mqtt/scope.ts'
import { SmsConsumer, SyncSmsConsumer } from '../../protocols/sms/consumer.ts'
import { SyncWebsocketConsumer, WebsocketConsumer } from '../../protocols/websocket/consumer.ts'
import type { Application, BaseScope, Event } from '../../src/asgi/protocol.ts'
import type { Lent, SyncContext, SyncInstance } from '../../src/asgi/sync.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { SyncConsumer } from '../../src/consumers/sync-consumer.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import { emailScope, mail, mqttScope, smsScope, websocketScope } from '../bridge/scopes.ts'

const text = { type: 'sms.message', body: 'hi', media: [], segments: 1, consent: '' }
const report = { type: 'sms.status', status: 'sent', errorCode: '' }
const publish = {
  type: 'mqtt.publish',
  topic: 'a',
  payload: new Uint8Array(),
  qos: 1,
  retain: false,
  dup: false,
  params: {},
}

/** What the application ends with when it gets this event, which is its last one. */
async function outcome(application: unknown, scope: BaseScope, event: Event): Promise<unknown> {
  const communicator = new ApplicationCommunicator(application as Application, scope, { layer: new MemoryLayer() })
  void communicator.sendInput(event, { last: true }).catch(() => undefined)
  const ended = await communicator.wait()
  return ended.kind === 'raised' ? ended.error : 'returned'
}

/** The same for one that blocks, without a worker. */
function handled(consumer: unknown, scope: BaseScope, event: Event): unknown {
  const { open } = consumer as { open(lent: Lent<never>): SyncInstance }
  const lent = { scope, send: () => undefined, join: () => undefined, context: {} as SyncContext }
  try {
    return Reflect.apply(open, consumer, [lent]).handle(event)
  } catch (error) {
    return error
  }
}

/** A log that keeps what it is warned of. */
function listeningLog(): { readonly log: typeof silentLog; readonly warned: readonly unknown[] } {
  const warned: unknown[] = []
  const log: typeof silentLog = Object.assign(Object.create(silentLog), {
    child: () => log,
    warn: (_fields: object, line: string) => warned.push(line),
  })
  return { log, warned }
}

const lacks = (message: string) => expect.objectContaining({ code: 'bad_reference', message }) as unknown

class MailTypo extends EmailConsumer {
  async mesage() {}
}
class SyncMailTypo extends SyncEmailConsumer {
  mesage() {}
}
class SmsTypo extends SmsConsumer {
  async mesage() {}
}
class SyncSmsTypo extends SyncSmsConsumer {
  mesage() {}
}
class MqttTypo extends MqttConsumer {
  override async connect() {}
  async mesage() {}
}
class SyncMqttTypo extends SyncMqttConsumer {
  mesage() {}
}

describe('an event fails whose method the class has not written', () => {
  test('of async consumers', async () => {
    const nobody = 'expected a method'
    expect(await outcome(MailTypo.asApplication(), emailScope(), mail())).toEqual(
      lacks(`${nobody} message(email) of MailTypo, found mesage`),
    )
    expect(await outcome(SmsTypo.asApplication(), smsScope(), text)).toEqual(
      lacks(`${nobody} message(sms) of SmsTypo, found mesage`),
    )
    expect(await outcome(MqttTypo.asApplication(), mqttScope(), publish)).toEqual(
      lacks(`${nobody} message(publish) of MqttTypo, found connect, mesage`),
    )
    expect(await outcome(EmailConsumer.asApplication(), emailScope(), mail())).toEqual(
      lacks(`${nobody} message(email) of EmailConsumer, found none`),
    )
  })

  test('and of those that block', () => {
    expect(handled(SyncMailTypo, emailScope(), mail())).toEqual(
      lacks('expected a method message(email) of SyncMailTypo, found mesage'),
    )
    expect(handled(SyncSmsTypo, smsScope(), text)).toEqual(
      lacks('expected a method message(sms) of SyncSmsTypo, found mesage'),
    )
    expect(handled(SyncMqttTypo, mqttScope(), publish)).toEqual(
      lacks('expected a method message(publish) of SyncMqttTypo, found mesage'),
    )
  })
})

describe('so does one on the plain base that has no method of its name', () => {
  class Plain extends Consumer<EmailProtocol> {
    protected override readonly lastEvent = 'email.message'
    async 'email.mesage'() {}
  }
  class Blocking extends SyncConsumer<EmailProtocol> {
    'email.mesage'() {}
  }
  class Subscribed extends SyncConsumer<MqttProtocol> {
    'mqtt.subscribe'() {}
  }

  test('where its sender takes it for handled', async () => {
    expect(await outcome(Plain.asApplication(), emailScope(), mail())).toEqual(
      lacks("expected a method 'email.message' of Plain, found email.mesage"),
    )
    expect(handled(Blocking, emailScope(), mail())).toEqual(
      lacks("expected a method 'email.message' of Blocking, found email.mesage"),
    )
    expect(handled(Subscribed, mqttScope(), publish)).toEqual(
      lacks("expected a method 'mqtt.publish' of Subscribed, found mqtt.subscribe"),
    )
  })

  test('but not where it only hears what happens', () => {
    const scope = mqttScope()
    for (const type of ['mqtt.connect', 'mqtt.subscribe', 'mqtt.unsubscribe']) {
      expect(handled(Blocking, scope, { type })).toBe(false)
    }
    expect(handled(Blocking, scope, { type: 'mqtt.disconnect' })).toBe(true)
  })
})

describe('an event is handled', () => {
  test('by a method that calls what it overrides, or is inherited', async () => {
    class Calls extends EmailConsumer {
      override async message(email: EmailMessage) {
        await super.message(email)
      }
    }
    class Inherits extends Calls {}
    expect(await outcome(Inherits.asApplication(), emailScope(), mail())).toBe('returned')
  })

  test('by a field, by the method of the event itself, or by a dispatch of its own', async () => {
    class Field extends EmailConsumer {
      override message = async () => {}
    }
    class ByEvent extends EmailConsumer {
      override async 'email.message'() {}
    }
    class ByDispatch extends EmailConsumer {
      protected override dispatch() {}
    }
    for (const each of [Field, ByEvent, ByDispatch]) {
      expect(await outcome(each.asApplication(), emailScope(), mail())).toBe('returned')
    }
  })

  test('by a class that goes on to hear its groups, which is said in the log', async () => {
    const layer = new MemoryLayer()
    const { log, warned } = listeningLog()
    class Listener extends SmsConsumer {
      override readonly groups = ['news']
      protected override isLast({ type }: Event) {
        return type === 'news.text'
      }
      async 'news.text'() {
        await this.reply('news')
      }
    }
    const application = Listener.asApplication() as Application
    const communicator = new ApplicationCommunicator(application, smsScope(), { layer, log })
    await communicator.sendInput(text)
    await communicator.sendInput(text, { last: 'of the peer' })
    await layer.groupSend('news', { type: 'news.text' })
    expect(await communicator.receiveOutput()).toMatchObject({ type: 'sms.reply' })
    expect(warned).toEqual(['Listener has no method message(sms): what its peers send is lost'])
  })

  test('but not by one that ends with it, whatever it has for its groups', async () => {
    class Deaf extends SmsConsumer {
      override readonly groups = ['news']
      async 'news.text'() {}
    }
    expect(await outcome(Deaf.asApplication(), smsScope(), text)).toEqual(
      lacks('expected a method message(sms) of Deaf, found news.text'),
    )
  })

  test('where it needs no method: the report on a text', async () => {
    class Texts extends SmsConsumer {
      override async message() {}
    }
    expect(await outcome(Texts.asApplication(), smsScope('status'), report)).toBe('returned')
  })
})

test('what a WebSocket says and no method hears is in the log, once for a class and method', async () => {
  const { log, warned } = listeningLog()
  class Socket extends WebsocketConsumer {
    async receive() {}
  }
  class Polite extends WebsocketConsumer {
    override async receiveText(said: string) {
      await super.receiveText(said)
      await this.sendText('thanks')
    }
  }
  const said: Event & { text: string } = { type: 'websocket.receive', text: 'hi' }
  for (const each of [Socket, Socket, Polite]) {
    const application = each.asApplication() as Application
    const communicator = new ApplicationCommunicator(application, websocketScope(), { layer: new MemoryLayer(), log })
    await communicator.sendInput({ type: 'websocket.connect' })
    expect(await communicator.receiveOutput()).toMatchObject({ type: 'websocket.accept' })
    for (const event of [said, said, { type: 'websocket.receive', bytes: new Uint8Array(1) }]) {
      await communicator.sendInput(event)
    }
    const gone = { type: 'websocket.disconnect', code: 1000, reason: '' }
    await communicator.sendInput(gone, { last: true })
    await communicator.wait()
  }
  const lost = 'what its peers send is lost'
  expect(warned).toEqual([
    `Socket has no method receiveText(text): ${lost}`,
    `Socket has no method receiveBytes(bytes): ${lost}`,
    `Polite has no method receiveBytes(bytes): ${lost}`,
  ])
})

test('a consumer of another protocol takes no scope', async () => {
  const takes = (name: string, taken: string, type: string) =>
    lacks(`found ${name}, which takes ${taken}, expected what takes ${type}`)
  expect(await outcome(WebsocketConsumer.asApplication(), emailScope(), mail())).toEqual(
    takes('WebsocketConsumer', 'websocket', 'email'),
  )
  expect(await outcome(MailTypo.asApplication(), smsScope(), text)).toEqual(takes('MailTypo', 'email', 'sms'))
  expect(handled(SyncWebsocketConsumer, mqttScope(), publish)).toEqual(
    takes('SyncWebsocketConsumer', 'websocket', 'mqtt'),
  )
})
