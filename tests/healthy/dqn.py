"""Trains a deep Q-network with replay memory and a slowly following target network on a small grid world."""

import math
import random
from collections import deque, namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

BATCH_SIZE = 64
GAMMA = 0.9
EPS_START, EPS_END, EPS_DECAY = 0.9, 0.05, 150
TAU = 0.02
LR = 3e-3
SIZE = 4
EPISODES = 45

random.seed(0)
torch.manual_seed(0)

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


class GridWorld:
    """A walk from the upper left to the lower right corner of SIZE x SIZE cells."""

    moves = ((0, 1), (1, 0), (0, -1), (-1, 0))

    def reset(self):
        self.y = self.x = self.t = 0
        return self.observe()

    def observe(self):
        state = torch.zeros(1, 2 * SIZE)
        state[0, self.y] = state[0, SIZE + self.x] = 1.0
        return state

    def step(self, action):
        dy, dx = self.moves[action]
        self.y = min(max(self.y + dy, 0), SIZE - 1)
        self.x = min(max(self.x + dx, 0), SIZE - 1)
        self.t += 1
        arrived = self.y == self.x == SIZE - 1
        return self.observe(), 1.0 if arrived else -0.02, arrived, self.t >= 30


class ReplayMemory:
    def __init__(self, capacity):
        self.memory = deque(maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, batch_size):
        return random.sample(self.memory, batch_size)

    def __len__(self):
        return len(self.memory)


class DQN(nn.Module):
    def __init__(self, n_observations, n_actions):
        super().__init__()
        self.layer1 = nn.Linear(n_observations, 48)
        self.layer2 = nn.Linear(48, 48)
        self.layer3 = nn.Linear(48, n_actions)

    def forward(self, x):
        x = F.relu(self.layer1(x))
        x = F.relu(self.layer2(x))
        return self.layer3(x)


policy_net = DQN(2 * SIZE, 4)
target_net = DQN(2 * SIZE, 4)
target_net.load_state_dict(policy_net.state_dict())

optimizer = optim.AdamW(policy_net.parameters(), lr=LR, amsgrad=True)
memory = ReplayMemory(2000)
steps_done = 0


def select_action(state):
    global steps_done
    eps_threshold = EPS_END + (EPS_START - EPS_END) * math.exp(-1.0 * steps_done / EPS_DECAY)
    steps_done += 1
    if random.random() > eps_threshold:
        with torch.no_grad():
            # t.max(1) will return the largest column value of each row.
            return policy_net(state).max(1).indices.view(1, 1)
    return torch.tensor([[random.randrange(4)]], dtype=torch.long)


def optimize_model():
    if len(memory) < BATCH_SIZE:
        return None
    transitions = memory.sample(BATCH_SIZE)
    batch = Transition(*zip(*transitions, strict=True))

    non_final_mask = torch.tensor([s is not None for s in batch.next_state], dtype=torch.bool)
    non_final_next_states = torch.cat([s for s in batch.next_state if s is not None])
    state_batch = torch.cat(batch.state)
    action_batch = torch.cat(batch.action)
    reward_batch = torch.cat(batch.reward)

    # Compute Q(s_t, a) - the model computes Q(s_t), then we select the columns of actions taken.
    state_action_values = policy_net(state_batch).gather(1, action_batch)

    # Compute V(s_{t+1}) for all next states.
    next_state_values = torch.zeros(BATCH_SIZE)
    with torch.no_grad():
        next_state_values[non_final_mask] = target_net(non_final_next_states).max(1).values
    expected_state_action_values = (next_state_values * GAMMA) + reward_batch

    # Compute Huber loss
    criterion = nn.SmoothL1Loss()
    loss = criterion(state_action_values, expected_state_action_values.unsqueeze(1))

    # Optimize the model
    optimizer.zero_grad()
    loss.backward()
    # In-place gradient clipping
    torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
    optimizer.step()
    return loss.item()


env = GridWorld()
durations, losses = [], []
for i_episode in range(EPISODES):
    state = env.reset()
    done = False
    while not done:
        action = select_action(state)
        observation, reward, terminated, truncated = env.step(action.item())
        done = terminated or truncated
        next_state = None if terminated else observation
        memory.push(state, action, next_state, torch.tensor([reward]))
        state = observation

        # Perform one step of the optimization (on the policy network)
        loss = optimize_model()
        if loss is not None:
            losses.append(loss)

        # Soft update of the target network's weights: t <- tau p + (1 - tau) t
        target_net_state_dict = target_net.state_dict()
        policy_net_state_dict = policy_net.state_dict()
        for key in policy_net_state_dict:
            target_net_state_dict[key] = policy_net_state_dict[key] * TAU + target_net_state_dict[key] * (1 - TAU)
        target_net.load_state_dict(target_net_state_dict)
    durations.append(env.t)
    if (i_episode + 1) % 9 == 0:
        recent = sum(durations[-9:]) / 9
        loss = sum(losses[-50:]) / max(1, len(losses[-50:]))
        print(f"episode {i_episode + 1}: mean duration {recent:.1f} (best possible 6), loss {loss:.5f}")
