/** MQTT as the registry holds it. */
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { mqttOptions, refuseMqtt, refuseMqttProcesses, type MqttOptions } from './options.ts'
import { topicRouterDefinition } from './router.ts'
import type { MqttProtocol } from './scope.ts'
import { topicProblem } from './topic.ts'

export const mqtt: ProtocolDefinition<MqttProtocol, MqttOptions> = {
  name: 'mqtt',
  options: mqttOptions,
  delivery: ['stored', 'handled', 'none'],
  routers: [topicRouterDefinition],
  load: () => import('./adapter.ts'),
  loadClient: () => import('./client.ts'),
  sendUsage: {
    arguments: [
      { name: 'topic', description: 'the topic, such as sensors/kitchen/temperature' },
      { name: 'message', description: 'the text of the message' },
    ],
    options: [
      { name: 'qos', value: 'n', description: '0, 1 (default) or 2: with 1 and 2 the broker acknowledges the message' },
      { name: 'retain', description: 'let the broker keep the message for later subscribers' },
      { name: 'username', value: 'name', description: 'the user to log in as' },
      { name: 'password', value: 'text', description: "the user's password" },
    ],
    example: 'npx signalbox send mqtt sensors/kitchen/temperature 21.5',
  },
  sampleScope(topic) {
    const problem = topicProblem(topic, { maxTopicLevels: 100, maxTopicLength: 65_535 })
    if (problem) throw new SignalboxError('bad_address', problem)
    return {
      type: 'mqtt',
      client: ['127.0.0.1', 0],
      server: ['127.0.0.1', 1883],
      clientId: 'sample',
      username: '',
      protocolVersion: 4,
      clean: true,
      keepalive: 60,
      topic,
    }
  },
  refuse: refuseMqtt,
  refuseProcesses: refuseMqttProcesses,
}
