/** Load over MQTT: publishes into a handler, and what one publisher says to many subscribers. */
import { alike, closedLoop, repeated, ring } from './closed-loop.ts'
import { fanOut } from './fan-out.ts'
import { each, urlOf, type Load, type LoadConfig } from './load.ts'
import { mqttAccepted, mqttConnect, mqttPublish, mqttSubscribe } from './packets.ts'
import { Peer } from './peer.ts'

const reading = '{"celsius":21.5}'

/** A publish of QoS 0 has no answer: each client subscribes to its own topic, and what it hears was handled. */
export const qos0: Load = async (config, tally) => {
  await each(config.connections, async (index) => {
    const topic = topicOf(index)
    const peer = await openMqtt(config, index)
    await subscribe(peer, topic)
    const packet = mqttPublish(topic, reading)
    const dialogue = { requests: repeated(packet, config.inFlight), answers: alike(packet.length, packet) }
    closedLoop(peer, config, tally, dialogue)
  })
}

export const qos1: Load = async (config, tally) => {
  await each(config.connections, async (index) => {
    const peer = await openMqtt(config, index)
    const packets = Array.from({ length: 1000 }, (_, id) => mqttPublish(topicOf(index), reading, id + 1))
    closedLoop(peer, config, tally, { requests: ring(packets), answers: alike(4, Buffer.from([0x40, 2])) })
  })
}

export const subscribers: Load = async (config, tally) => {
  const packet = mqttPublish('sensors/all/temperature', reading)
  const members: Peer[] = []
  await each(config.connections, async (index) => {
    const peer = await openMqtt(config, index)
    await subscribe(peer, 'sensors/all/temperature')
    members.push(peer)
  })
  const speaker = await openMqtt(config, config.connections)
  const answers = () => alike(packet.length, packet)
  fanOut({ speaker, members, requests: repeated(packet, config.inFlight), answers }, config, tally)
}

export async function openMqtt(config: LoadConfig, index: number): Promise<Peer> {
  const peer = await Peer.open(urlOf(config, 'mqtt'))
  peer.write(mqttConnect(`bench-${index}`))
  const answer = await peer.until(({ length }) => length >= 4)
  if (answer !== mqttAccepted) throw new Error(`the server answers ${JSON.stringify(answer)} to CONNECT`)
  return peer
}

const topicOf = (index: number) => `sensors/device-${index}/temperature`

async function subscribe(peer: Peer, topic: string): Promise<void> {
  peer.write(mqttSubscribe(topic))
  const answer = await peer.until(({ length }) => length >= 5)
  if (!answer.endsWith('\0')) throw new Error(`the server answers ${JSON.stringify(answer)} to SUBSCRIBE`)
}
